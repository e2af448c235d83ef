"""Codes as bytes: an entropy coder that knows what codes are likely beside their neighbours.

The order is row by row, in a row column by column, and at each position slice after slice. Without
the statistics of a model (`CodePrior`), the coder learns from the file itself how often each code
occurs.
"""

from collections.abc import Iterator

import numpy as np

from vqvae.inference.range_coder import Decoder, encode
from vqvae.model.code_prior import LARGEST_CODEBOOK, CodePrior, Integers, contexts_at, padded

_INCREMENT = 24
"""What a code's frequency grows by when it occurs, in a file without statistics."""
_LARGEST_TOTAL = 2**30
_MAX_FREQUENCIES = 2**22
"""How many frequencies are computed at once, to bound the memory."""


def can_encode(size: int) -> bool:
    """Whether codes of a codebook of this size can be entropy-coded."""
    return size <= LARGEST_CODEBOOK


def encode_codes(indices: Integers, size: int, prior: CodePrior | None) -> bytes:
    """The bytes of codes.

    Args:
        indices: the codes, [S, h, w].
        size: the number K of codes.
        prior: the model's statistics; None if it has none.
    """
    steps = _learnt_steps(indices, size) if prior is None else _known_steps(indices, prior)
    return encode(steps)


def decode_codes(
    content: bytes, grid: tuple[int, int, int], size: int, prior: CodePrior | None
) -> Integers:
    """The codes [S, h, w] in bytes of `encode_codes`; any bytes give codes from 0 to K - 1.

    Args:
        content: the bytes.
        grid: S, h and w.
        size: the number K of codes.
        prior: the statistics that the encoder had.
    """
    decoder = Decoder(content)
    if prior is None:
        return _decode_learnt(decoder, grid, size)
    slices, height, width = grid
    border = padded(np.zeros(grid, np.int64), size)
    step = max(1, _MAX_FREQUENCIES // size)
    for row in range(height):
        for column in range(width):
            contexts = contexts_at(border, row, slice(column, column + 1))[0]
            for first in range(0, slices, step):
                cumulative = prior.frequencies(contexts[first : first + step]).cumsum(1)
                found = [decoder.symbol(each) for each in cumulative]
                border[first : first + step, row + 2, column + 2] = found
    return border[:, 2:, 2 : 2 + width]


def _known_steps(indices: Integers, prior: CodePrior) -> Iterator[tuple[int, int, int]]:
    """For each code what `range_coder.encode` needs, by the model's statistics."""
    border = padded(indices, prior.codebook_size)
    _, height, width = indices.shape
    for row in range(height):
        in_row = indices[:, row].T.ravel()
        contexts_in_row = contexts_at(border, row, slice(0, width)).reshape(len(in_row), -1)
        step = max(1, _MAX_FREQUENCIES // prior.codebook_size)
        for first in range(0, len(in_row), step):
            codes, contexts = in_row[first : first + step], contexts_in_row[first : first + step]
            frequencies = prior.frequencies(contexts)
            cumulative = frequencies.cumsum(1)
            places = np.arange(len(codes))
            own, end = frequencies[places, codes], cumulative[places, codes]
            yield from zip(
                (end - own).tolist(), own.tolist(), cumulative[:, -1].tolist(), strict=True
            )


def _order(indices: Integers) -> Integers:
    """The codes in the order in which they are coded."""
    return indices.transpose(1, 2, 0).ravel()


def _learnt_steps(indices: Integers, size: int) -> Iterator[tuple[int, int, int]]:
    frequencies = _Frequencies(size)
    for code in _order(indices).tolist():
        yield frequencies.step(code)
        frequencies.add(code)


def _decode_learnt(decoder: Decoder, grid: tuple[int, int, int], size: int) -> Integers:
    slices, height, width = grid
    frequencies = _Frequencies(size)
    codes = np.empty(slices * height * width, np.int64)
    for at in range(len(codes)):
        codes[at] = code = decoder.symbol(frequencies.values.cumsum())
        frequencies.add(code)
    return codes.reshape(height, width, slices).transpose(2, 0, 1)


class _Frequencies:
    """How often each code has occurred so far, plus once."""

    def __init__(self, size: int) -> None:
        self.values = np.ones(size, np.int64)

    def step(self, code: int) -> tuple[int, int, int]:
        start = int(self.values[:code].sum())
        return start, int(self.values[code]), int(self.values.sum())

    def add(self, code: int) -> None:
        self.values[code] += _INCREMENT
        if self.values.sum() > _LARGEST_TOTAL:
            self.values -= self.values >> 1
