"""A range coder: symbols with given frequencies as bytes, close to their entropy (Martin 1979).

It computes with integers alone. The coder keeps an interval of 64 bits, and writes its highest byte
once that is settled. Its form without a carry is that of Subbotin (1999): an interval that would
straddle a byte for too long is cut short.
"""

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

_MASK = 2**64 - 1
_TOP, _BOTTOM = 2**56, 2**48


def encode(steps: Iterable[tuple[int, int, int]]) -> bytes:
    """The bytes of a sequence of symbols.

    Args:
        steps: for each symbol: the sum of the frequencies of the symbols before it in the
            alphabet, its own frequency (at least 1), and the sum of all (at most 2^32).
    """
    low, extent, content = 0, _MASK, bytearray()
    for start, frequency, total in steps:
        unit = extent // total
        low, extent = low + start * unit, frequency * unit
        while True:
            if (low ^ (low + extent)) >= _TOP:
                if extent >= _BOTTOM:
                    break
                extent = -low & (_BOTTOM - 1)
            content.append(low >> 56 & 255)
            low, extent = low << 8 & _MASK, extent << 8
    return _ended(content, low, extent)


class Decoder:
    """Reads the symbols that `encode` wrote, one after another."""

    def __init__(self, content: bytes) -> None:
        self._content = content
        self._at = 8
        self._low, self._extent = 0, _MASK
        self._code = int.from_bytes(content[:8].ljust(8, b"\0"))

    def symbol(self, cumulative: NDArray[np.int64]) -> int:
        """The next symbol.

        Args:
            cumulative: for each symbol of the alphabet, the sum of its frequency and of those
                before it.
        """
        unit = self._extent // int(cumulative[-1])
        place = min((self._code - self._low) // unit, int(cumulative[-1]) - 1)
        found = int(cumulative.searchsorted(place, "right"))
        start = int(cumulative[found - 1]) if found else 0
        low, extent = self._low + start * unit, (int(cumulative[found]) - start) * unit
        while True:
            if (low ^ (low + extent)) >= _TOP:
                if extent >= _BOTTOM:
                    break
                extent = -low & (_BOTTOM - 1)
            following = self._content[self._at] if self._at < len(self._content) else 0
            self._at += 1
            self._code = (self._code << 8 | following) & _MASK
            low, extent = low << 8 & _MASK, extent << 8
        self._low, self._extent = low, extent
        return found


def _ended(content: bytearray, low: int, extent: int) -> bytes:
    """Add as few bytes as name a number in the interval; the reader takes zeros after them."""
    for length in range(9):
        step = 1 << 64 - 8 * length
        number = -(-low // step) * step
        if number < low + extent and number <= _MASK:
            content += (number >> 64 - 8 * length).to_bytes(length)
            break
    while content and content[-1] == 0:
        content.pop()
    return bytes(content)
