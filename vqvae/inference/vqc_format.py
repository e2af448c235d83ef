"""The file format of a coded scan (`.vqc`): the codes, and all else that decoding needs.

A file is small, so its description is as short as can be. Numbers are little-endian; a varint has
seven bits a byte (`byte_stream`). Version 2:

    4 bytes   "VQC" and the version as one byte
    4 bytes   the start of the identity of the model; only the same model can decode the codes
    1 byte    how the codes are stored (0 packed, 1 entropy-coded), and from bit 2 on how the
              intensities are (0 to 2)
    varints   H and W, and the number S of slices
    for each  the intensities that are scaled to 0 and 1: the first of them, and the second or the
    slice     difference to it. 0: a varint and a float32; 1: two float32; 2: two float64
              the header of the NIfTI file that decoding writes (`header_format`)
              the codes, [S, h, w]
    4 bytes   the CRC-32 of everything before

The model says how many codes K there are, and the grid: h = ceil(H / stride), w = ceil(W / stride).
Packed codes have ceil(log2 K) bits each, slice after slice and row after row, the highest bit
first; the last byte is filled with zeros. Entropy-coded ones are those of `entropy_coding`, with
the statistics of the model if it has any. The smaller of the two is taken.
"""

import struct
import zlib
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from vqvae.data.intensity import Window
from vqvae.errors import InputError
from vqvae.inference.byte_stream import Reader, to_varint, to_zigzag
from vqvae.inference.entropy_coding import can_encode, decode_codes, encode_codes
from vqvae.inference.header_format import (
    LARGEST_HEADER,
    pack_header_bytes,
    unpack_header_bytes,
)
from vqvae.model.code_prior import CodePrior

SUFFIX = ".vqc"
LARGEST, MOST_SLICES = 2**25, 2**14
"""The largest numbers of pixels and of slices in a scan: decoding then takes a few hundred MiB."""
_MAGIC = b"VQC\x02"
_IDENTITY_BYTES = 4
_CRC = struct.Struct("<I")
_SHORTEST = len(_MAGIC) + _IDENTITY_BYTES + _CRC.size + 6
_PACKED, _ENTROPY = range(2)
_INTEGER, _SINGLE, _DOUBLE = range(3)
"""How intensities are stored."""


class Coder(Protocol):
    """What the format must know of a model; each `vqvae.model.codec.Codec` is one."""

    @property
    def identity(self) -> str:
        """Hex SHA-256."""

    @property
    def codebook_size(self) -> int:
        """The number K of codes."""

    @property
    def stride(self) -> int:
        """One code stands for `stride` x `stride` pixels."""

    @property
    def code_prior(self) -> CodePrior | None:
        """How likely each code is beside its neighbours; None without such statistics."""


@dataclass(frozen=True)
class Coded:
    """A scan as codes."""

    height: int
    """Rows of a slice."""
    width: int
    """Columns of a slice."""
    windows: tuple[Window, ...]
    """One for each slice."""
    header: bytes
    """The header of the NIfTI file that decoding writes; see `vqvae.data.nifti.pack_header`."""
    indices: NDArray[np.int64]
    """The codes, [S, ceil(height / stride), ceil(width / stride)]."""


def pack(scan: Coded, model: Coder) -> bytes:
    """The content of the file of a scan that `model` encoded.

    Raises:
        InputError: the scan is larger than `unpack` accepts.
    """
    slices = len(scan.windows)
    too_large = scan.height * scan.width * slices > LARGEST or slices > MOST_SLICES
    if too_large or len(scan.header) > LARGEST_HEADER:
        raise InputError(
            f"more than {LARGEST} pixels, {MOST_SLICES} slices, or {LARGEST_HEADER} bytes of "
            "header; split it into smaller volumes"
        )
    kind = max(map(_kind_of, scan.windows))
    method, codes = _smallest(scan.indices, model)
    content = _MAGIC + bytes.fromhex(model.identity)[:_IDENTITY_BYTES]
    content += bytes([method | kind << 2])
    content += b"".join(map(to_varint, (scan.height, scan.width, slices)))
    content += b"".join(_pack_window(window, kind) for window in scan.windows)
    content += pack_header_bytes(scan.header, scan.height, scan.width, slices) + codes
    return content + _CRC.pack(zlib.crc32(content))


def unpack(content: bytes, model: Coder) -> Coded:
    """The coded scan that `pack` was given.

    Raises:
        InputError: `content` is not such a file, it is damaged or truncated, or another model
            encoded it.
    """
    if content[:3] != _MAGIC[:3]:
        raise InputError("not a coded scan (it does not start with VQC)")
    if content[3:4] != _MAGIC[3:]:
        raise InputError("a coded scan of another version; encode the scan again")
    if len(content) < _SHORTEST:
        raise InputError("truncated; copy it again")
    if zlib.crc32(content[: -_CRC.size]) != _CRC.unpack_from(content, len(content) - _CRC.size)[0]:
        raise InputError("damaged or truncated (its checksum is wrong); copy it again")
    reader = Reader(content[len(_MAGIC) : -_CRC.size])
    _refuse_another_model(reader.take(_IDENTITY_BYTES), model)
    (how,) = reader.take(1)
    height, width, slices = (reader.varint() for _ in range(3))
    if not 0 < height * width * slices <= LARGEST or slices > MOST_SLICES:
        raise InputError("its header has impossible sizes: not written by this program")
    windows = tuple(_unpack_window(reader, how >> 2) for _ in range(slices))
    header = unpack_header_bytes(reader, height, width, slices)
    grid = (slices, -(-height // model.stride), -(-width // model.stride))
    indices = _unpacked(how & 3, reader.rest(), grid, model)
    return Coded(height, width, windows, header, indices)


def short_window(window: Window) -> Window:
    """The window with whose float32 numbers `vqvae.data.intensity.restore` gives the same float32.

    It is stored in half the bytes.
    """
    low, extent = float(np.float32(window.low)), float(np.float32(window.high - window.low))
    return Window(low, low + extent)


def _refuse_another_model(found: bytes, model: Coder) -> None:
    if found != bytes.fromhex(model.identity)[:_IDENTITY_BYTES]:
        own = model.identity[: 2 * _IDENTITY_BYTES]
        raise InputError(
            f"its codes are from model {found.hex()}, not from {own}; "
            "give --model the model that encoded it"
        )


def _kind_of(window: Window) -> int:
    """The shortest way to store a window exactly."""
    low, extent = window.low, window.high - window.low
    with np.errstate(over="ignore"):
        fits = float(np.float32(low)) == low and float(np.float32(extent)) == extent
    if not fits or low + extent != window.high:
        return _DOUBLE
    return _INTEGER if low.is_integer() and abs(low) < 2**31 else _SINGLE


def _pack_window(window: Window, kind: int) -> bytes:
    extent = window.high - window.low
    match kind:
        case 0:
            return to_varint(to_zigzag(int(window.low))) + struct.pack("<f", extent)
        case 1:
            return struct.pack("<2f", window.low, extent)
        case _:
            return struct.pack("<2d", window.low, window.high)


def _unpack_window(reader: Reader, kind: int) -> Window:
    match kind:
        case 0:
            low: float = reader.zigzag()
            (extent,) = struct.unpack("<f", reader.take(4))
        case 1:
            low, extent = struct.unpack("<2f", reader.take(8))
        case 2:
            low, high = struct.unpack("<2d", reader.take(16))
            extent = high - low
        case _:
            raise InputError(f"its intensities are stored by method {kind}; not known here")
    window = Window(float(low), high if kind == _DOUBLE else low + extent)
    if not np.isfinite([window.low, window.high]).all():
        raise InputError("its intensities are not finite: not written by this program")
    return window


def _bits(size: int) -> int:
    return (size - 1).bit_length()


def _smallest(indices: NDArray[np.int64], model: Coder) -> tuple[int, bytes]:
    """The codes as bytes, by the method that gives fewer of them."""
    shifts = np.arange(_bits(model.codebook_size) - 1, -1, -1)
    packed = np.packbits((indices.reshape(-1, 1) >> shifts & 1).astype(np.uint8)).tobytes()
    if not can_encode(model.codebook_size):
        return _PACKED, packed
    coded = encode_codes(indices, model.codebook_size, model.code_prior)
    return (_ENTROPY, coded) if len(coded) < len(packed) else (_PACKED, packed)


def _unpacked(
    method: int, content: bytes, grid: tuple[int, int, int], model: Coder
) -> NDArray[np.int64]:
    size = model.codebook_size
    if method == _ENTROPY and can_encode(size):
        return decode_codes(content, grid, size, model.code_prior)
    if method != _PACKED:
        raise InputError(f"its codes are stored by method {method}; the valid ones are 0 and 1")
    number, bits = grid[0] * grid[1] * grid[2], _bits(size)
    if len(content) != -(-number * bits // 8):
        raise InputError("more or fewer codes than its size says: not written by this program")
    digits = np.unpackbits(np.frombuffer(content, np.uint8), count=number * bits)
    values = np.zeros(number, np.int64)
    for digit in digits.reshape(number, bits).T:
        values = values << 1 | digit
    if values.max() >= size:
        raise InputError(f"a code is beyond the codebook's {size}: not written by this program")
    return values.reshape(grid)
