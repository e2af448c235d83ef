"""The file format of a coded scan (`.vqc`): the codes, and all else that decoding needs.

Numbers are little-endian. Version 1:

    offset  bytes
         0      4  "VQC" and the version as one byte
         4      1  how the codes are stored: 0 packed, 1 LZMA
         5      1  the latent stride s: the grid has ceil(H / s) rows and ceil(W / s) columns
         6      4  the number K of codes in the codebook
        10      8  H and W (two bytes each), and the number S of slices (four bytes)
        18     12  four bytes each: the compressed size of the description, its size before
                   compression, the size of the codes
        30     32  the identity of the model; only the same model can decode the codes
        62         the description, compressed by zlib: for each slice the intensities that are
                   scaled to 0 and 1 (two doubles), then the header of the NIfTI file that decoding
                   writes, with its extensions
                   the codes, slice after slice and row after row
                   four bytes: the CRC-32 of everything before

Packed codes have ceil(log2 K) bits each, the highest bit first; the last byte is filled with zeros.
LZMA is raw LZMA2 of codes of two bytes each. With the settings below it codes each code by how
often it occurs. It is used if it makes the file smaller.
"""

import lzma
import math
import struct
import zlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vqvae.data.intensity import Window
from vqvae.errors import InputError

SUFFIX = ".vqc"
LARGEST, MOST_SLICES = 2**25, 2**14
"""The largest numbers of pixels and of slices in a scan: decoding then takes a few hundred MiB."""
_MAGIC = b"VQC\x01"
_HEAD = struct.Struct("<4sBBIHHIIII32s")
_CRC = struct.Struct("<I")
_LARGEST_DESCRIPTION = 2**24
_PACKED, _LZMA = range(2)
_FILTERS = [{"id": lzma.FILTER_LZMA2, "preset": 9, "dict_size": 2**22, "lc": 0, "lp": 1, "pb": 1}]


@dataclass(frozen=True)
class Coded:
    """A scan as codes."""

    identity: str
    """The identity of the model that encoded it, hex SHA-256."""
    codebook_size: int
    stride: int
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


def pack(scan: Coded) -> bytes:
    """The content of the file of a coded scan.

    Raises:
        InputError: the scan is larger than `unpack` accepts.
    """
    slices = len(scan.windows)
    windows = np.array([(window.low, window.high) for window in scan.windows], "<f8")
    description = windows.tobytes() + scan.header
    too_large = scan.height * scan.width * slices > LARGEST or slices > MOST_SLICES
    if too_large or len(description) > _LARGEST_DESCRIPTION:
        raise InputError(
            f"more than {LARGEST} pixels, {MOST_SLICES} slices, or {_LARGEST_DESCRIPTION} bytes of "
            "header; split it into smaller volumes"
        )
    method, codes = _smallest(scan.indices.ravel(), _bits(scan.codebook_size))
    compressed = zlib.compress(description, 9)
    head = _HEAD.pack(
        *(_MAGIC, method, scan.stride, scan.codebook_size, scan.height, scan.width, slices),
        *(len(compressed), len(description), len(codes), bytes.fromhex(scan.identity)),
    )
    content = head + compressed + codes
    return content + _CRC.pack(zlib.crc32(content))


def unpack(content: bytes) -> Coded:
    """The coded scan that `pack` was given.

    Raises:
        InputError: `content` is not such a file, or it is damaged or truncated.
    """
    if content[:3] != _MAGIC[:3]:
        raise InputError("not a coded scan (it does not start with VQC)")
    if content[3:4] != _MAGIC[3:]:
        raise InputError("a coded scan of another version; decode it with a newer vqvae")
    if len(content) < _HEAD.size + _CRC.size:
        raise InputError("truncated; copy it again")
    head = _HEAD.unpack_from(content)
    _, method, stride, size, height, width, slices, compressed, described, stored, identity = head
    if len(content) != _HEAD.size + compressed + stored + _CRC.size:
        raise InputError("truncated, or longer than its header says; copy it again")
    if zlib.crc32(content[: -_CRC.size]) != _CRC.unpack_from(content, len(content) - 4)[0]:
        raise InputError("damaged (its checksum is wrong); copy it again")
    if slices > MOST_SLICES or not 16 * slices < described <= _LARGEST_DESCRIPTION:
        raise InputError("its header has impossible sizes: not written by this program")
    _refuse_foreign(stride, size, height * width * slices)
    middle = _HEAD.size + compressed
    description = _inflated(content[_HEAD.size : middle], described)
    grid = (slices, -(-height // stride), -(-width // stride))
    flat = _unpacked(method, content[middle : middle + stored], math.prod(grid), _bits(size))
    if flat.max() >= size:
        raise InputError(f"a code is beyond the codebook's {size}: not written by this program")
    return Coded(
        identity=identity.hex(),
        codebook_size=size,
        stride=stride,
        height=height,
        width=width,
        windows=_windows(description[: 16 * slices]),
        header=description[16 * slices :],
        indices=flat.reshape(grid),
    )


def _refuse_foreign(stride: int, size: int, pixels: int) -> None:
    """Check the sizes in the file's header, before memory is allocated by them."""
    valid = stride in {2, 4, 8, 16} and 2 <= size <= 2**24
    if not valid or not 0 < pixels <= LARGEST:
        raise InputError("its header has impossible sizes: not written by this program")


def _windows(content: bytes) -> tuple[Window, ...]:
    windows = np.frombuffer(content, "<f8").reshape(-1, 2)
    if not np.isfinite(windows).all():
        raise InputError("its intensities are not finite: not written by this program")
    return tuple(Window(low, high) for low, high in windows.tolist())


def _bits(size: int) -> int:
    return (size - 1).bit_length()


def _smallest(flat: NDArray[np.int64], bits: int) -> tuple[int, bytes]:
    """The codes as bytes, by the method that gives fewer of them."""
    shifts = np.arange(bits - 1, -1, -1)
    packed = np.packbits((flat[:, None] >> shifts & 1).astype(np.uint8)).tobytes()
    if bits > 16:
        return _PACKED, packed
    coded = lzma.compress(flat.astype("<u2").tobytes(), lzma.FORMAT_RAW, filters=_FILTERS)
    return (_LZMA, coded) if len(coded) < len(packed) else (_PACKED, packed)


def _unpacked(method: int, content: bytes, number: int, bits: int) -> NDArray[np.int64]:
    if method == _LZMA and bits <= 16:
        return np.frombuffer(_expanded(content, 2 * number), "<u2").astype(np.int64)
    if method != _PACKED:
        raise InputError(f"its codes are stored by method {method}; the valid ones are 0 and 1")
    if len(content) != -(-number * bits // 8):
        raise InputError("more or fewer codes than its size says: not written by this program")
    digits = np.unpackbits(np.frombuffer(content, np.uint8), count=number * bits)
    values = np.zeros(number, np.int64)
    for digit in digits.reshape(number, bits).T:
        values = values << 1 | digit
    return values


def _expanded(content: bytes, length: int) -> bytes:
    """Decompress LZMA to `length` bytes; at most one byte more is ever allocated."""
    reader = lzma.LZMADecompressor(lzma.FORMAT_RAW, filters=_FILTERS)
    try:
        found = reader.decompress(content, length + 1)
    except (lzma.LZMAError, EOFError) as error:
        raise InputError("its codes cannot be decompressed: not written by this program") from error
    if len(found) != length or not reader.eof or reader.unused_data:
        raise InputError("more or fewer codes than its size says: not written by this program")
    return found


def _inflated(content: bytes, length: int) -> bytes:
    """Decompress zlib to `length` bytes; at most one byte more is ever allocated."""
    reader = zlib.decompressobj()
    try:
        found = reader.decompress(content, length + 1)
    except zlib.error as error:
        raise InputError("its description cannot be decompressed: damaged") from error
    if len(found) != length or not reader.eof or reader.unused_data:
        raise InputError("its description has another length: not written by this program")
    return found
