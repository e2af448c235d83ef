"""Numbers of a variable length in a sequence of bytes."""

from vqvae.errors import InputError

_LONGEST = 5


def to_varint(number: int) -> bytes:
    """A number from 0 to 2^35 - 1 as one to five bytes: seven bits in each, the lowest first.

    The highest bit of a byte says that another one follows.
    """
    content = bytearray()
    while number >= 128:
        content.append(number & 127 | 128)
        number >>= 7
    return bytes([*content, number])


def to_zigzag(number: int) -> int:
    """A number of any sign as one that is not negative: 0, -1, 1, -2 as 0, 1, 2, 3."""
    return -2 * number - 1 if number < 0 else 2 * number


class Reader:
    """Reads bytes from the front.

    Every method raises InputError if there are not enough bytes left.
    """

    def __init__(self, content: bytes) -> None:
        self._content = content
        self._at = 0

    def take(self, length: int) -> bytes:
        """The next `length` bytes."""
        if length > len(self._content) - self._at:
            raise InputError("its header is too short: not written by this program")
        self._at += length
        return self._content[self._at - length : self._at]

    def varint(self) -> int:
        """A number that `to_varint` wrote."""
        number = 0
        for place in range(_LONGEST):
            (byte,) = self.take(1)
            number |= (byte & 127) << 7 * place
            if byte < 128:
                return number
        raise InputError("its header has impossible sizes: not written by this program")

    def zigzag(self) -> int:
        """A number that `to_zigzag` and `to_varint` wrote."""
        number = self.varint()
        return -(number + 1 >> 1) if number & 1 else number >> 1

    def rest(self) -> bytes:
        """All bytes that are left."""
        return self.take(len(self._content) - self._at)
