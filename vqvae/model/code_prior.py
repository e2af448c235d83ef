"""How likely each code is, given its neighbours: what the entropy coder of `.vqc` files asks.

A small network maps the ten nearest codes to the left of a code and above it to a frequency for
each of the K codes. Encoder and decoder must have the same frequencies, on any machine. So the
weights are integers, and so is every intermediate result. The products of matrices are computed
with floats that hold these integers exactly: no sum reaches 2^53, hence no order of additions
changes it.

With E the embedding [K + 1, 8] (row K stands for a neighbour outside the slice), and x the
embeddings of the neighbours: h = ReLU(W1 x + b1), g = ReLU(W2 h + b2), r = W3 g + b3, and the
logarithm to base 2 of a code's probability is V r + c, up to a constant. Numbers are scaled by 2^8.
"""

import math
import struct
from dataclasses import astuple, dataclass, fields

import numpy as np
from numpy.typing import NDArray

from vqvae.errors import InputError

Integers = NDArray[np.int64]

FILE = "code_prior.bin"
"""The name of its file, in the folder of a model."""
NEIGHBOURS = (
    *((0, -1), (-1, 0), (-1, -1), (-1, 1), (0, -2), (-2, 0)),
    *((-1, 2), (-2, 1), (-2, -1), (-1, -2)),
)
"""Row and column of each neighbour, relative to the code: all are decoded before it."""
EMBEDDING, HIDDEN, RANK = 8, 128, 32
"""The widths of the network."""
SCALE_BITS = 8
"""Numbers are scaled by 2^8."""
TOTAL = 2**20
"""The frequencies of a position add up to at most this."""
LARGEST_CODEBOOK = 2**14
"""The largest codebook with such a network."""
_LIMIT, _LARGEST_BIAS = 2**15 - 1, 2**30
_MAGIC = b"VQP\x01"


@dataclass(frozen=True)
class CodePrior:
    """The integer weights of the network; `weights_of` makes them from floats."""

    embedding: Integers
    """[K + 1, 8]."""
    first: Integers
    """W1, [128, 80]."""
    first_bias: Integers
    """b1, [128]."""
    second: Integers
    """W2, [128, 128]."""
    second_bias: Integers
    """b2, [128]."""
    rank: Integers
    """W3, [32, 128]."""
    rank_bias: Integers
    """b3, [32]."""
    output: Integers
    """V, [K, 32]."""
    output_bias: Integers
    """c, [K]."""

    @property
    def codebook_size(self) -> int:
        """The number K of codes."""
        return len(self.output)

    def frequencies(self, contexts: Integers) -> Integers:
        """The frequency of each code after each context, at least 1.

        Args:
            contexts: the neighbours of N codes, [N, 10]; K where there is none.

        Returns:
            [N, K]; a row adds up to at most `TOTAL`.
        """
        inputs = self.embedding[contexts].reshape(len(contexts), -1)
        first = _scaled(_product(inputs, self.first) + self.first_bias).clip(0, _LIMIT)
        second = _scaled(_product(first, self.second) + self.second_bias).clip(0, _LIMIT)
        rank = _scaled(_product(second, self.rank) + self.rank_bias).clip(-_LIMIT, _LIMIT)
        logarithms = _product(rank, self.output) + self.output_bias
        below = logarithms.max(1, keepdims=True) - logarithms
        octave, fraction = below >> 2 * SCALE_BITS, below >> SCALE_BITS & 255
        likelihood = _POWERS[fraction] >> octave.clip(max=40)
        share = likelihood * (TOTAL - self.codebook_size) // likelihood.sum(1, keepdims=True)
        return np.asarray(1 + share, np.int64)

    def to_bytes(self) -> bytes:
        """The weights as bytes for `from_bytes`: 32-bit integers after the number K."""
        arrays = b"".join(values.astype("<i4").tobytes() for values in astuple(self))
        return _MAGIC + struct.pack("<I", self.codebook_size) + arrays

    @classmethod
    def from_bytes(cls, content: bytes) -> "CodePrior":
        """The weights that `to_bytes` was given.

        Raises:
            InputError: the content is not such a file.
        """
        if content[:4] != _MAGIC or len(content) < 8:
            raise InputError("not the code statistics of a model")
        (size,) = struct.unpack_from("<I", content, 4)
        shapes = _shapes(size) if 2 <= size <= LARGEST_CODEBOOK else []
        if 8 + 4 * sum(math.prod(shape) for shape in shapes) != len(content):
            raise InputError("the code statistics of a model, but truncated; copy them again")
        flat = np.frombuffer(content, "<i4", offset=8).astype(np.int64)
        cumulative = np.cumsum([math.prod(shape) for shape in shapes])
        parts = np.split(flat, cumulative[:-1])
        arrays = [part.reshape(shape) for part, shape in zip(parts, shapes, strict=True)]
        for field, array in zip(fields(cls), arrays, strict=True):
            # Larger ones would take sums beyond 2^53, and machines could disagree.
            if np.abs(array).max() > _limit(field.name):
                raise InputError(f"the code statistics of a model, but {field.name} is too large")
        return cls(*arrays)


def weights_of(floats: dict[str, NDArray[np.float64]]) -> CodePrior:
    """The integer weights for a trained network.

    Args:
        floats: by the names of `CodePrior`'s fields; `output` gives natural logarithms.
    """
    scaled: dict[str, Integers] = {}
    for field in fields(CodePrior):
        values = floats[field.name]
        if field.name.startswith("output"):
            values = values / math.log(2)
        bits = 2 * SCALE_BITS if _is_bias(field.name) else SCALE_BITS
        limit = _limit(field.name)
        scaled[field.name] = np.rint(values * 2**bits).astype(np.int64).clip(-limit, limit)
    return CodePrior(**scaled)


def padded(indices: Integers, size: int) -> Integers:
    """Codes [S, h, w] with a border of K, [S, h + 2, w + 4], for `contexts_at`."""
    return np.pad(indices, ((0, 0), (2, 0), (2, 2)), constant_values=size)


def contexts_at(border: Integers, row: int, columns: slice) -> Integers:
    """The neighbours of some columns of a row in each slice, [columns, S, 10].

    Args:
        border: the codes with their border, as `padded` returns them.
        row: the row, from 0.
        columns: the columns, with a start and a stop.
    """
    found = [
        border[:, row + 2 + down, columns.start + 2 + right : columns.stop + 2 + right]
        for down, right in NEIGHBOURS
    ]
    return np.stack(found, -1).swapaxes(0, 1)


def _is_bias(name: str) -> bool:
    return name.endswith("bias")


def _limit(name: str) -> int:
    """The largest absolute value of the weights of this name."""
    return _LARGEST_BIAS if _is_bias(name) else _LIMIT


def _shapes(size: int) -> list[tuple[int, ...]]:
    inputs = EMBEDDING * len(NEIGHBOURS)
    hidden = [(HIDDEN, inputs), (HIDDEN,), (HIDDEN, HIDDEN), (HIDDEN,)]
    network = [*hidden, (RANK, HIDDEN), (RANK,)]
    return [(size + 1, EMBEDDING), *network, (size, RANK), (size,)]


def _product(vectors: Integers, weights: Integers) -> Integers:
    """Vectors @ weights.T, exactly: the sums stay below 2^53, which a float64 holds."""
    return (vectors.astype(np.float64) @ weights.astype(np.float64).T).astype(np.int64)


def _scaled(values: Integers) -> Integers:
    return values >> SCALE_BITS


def _powers() -> Integers:
    """2^30 * 2^(-i / 256) for i from 0 to 255, rounded down, from integer square roots alone."""
    one = 1 << 64
    roots = [one >> 1]  # 2^-1, then 2^-1/2, 2^-1/4 and so on, scaled by 2^64
    for _ in range(SCALE_BITS):
        roots.append(math.isqrt(roots[-1] << 64))
    powers = []
    for index in range(256):
        value = one
        for place in range(SCALE_BITS):
            if index >> (SCALE_BITS - 1 - place) & 1:
                value = value * roots[place + 1] >> 64
        powers.append(value >> 34)
    return np.array(powers, np.int64)


_POWERS = _powers()
