"""The format of a coded scan (`.vqc`): a model's codes, and all else that gives the scan back.

Numbers are little-endian. Version 1:

    at  bytes
     0      4  "VQC" and the version as one byte
     4      1  how the codes are stored: 0 packed, 1 by LZMA
     5      1  the latent stride s: the grid has ceil(H / s) rows and ceil(W / s) columns
     6      4  K, the size of the codebook
    10      8  H, W (two bytes each) and the number of slices S (four)
    18     12  bytes of the description, the same before it was compressed, bytes of the codes
    30     32  the identity of the model: codes mean nothing to another
    62         the description, by zlib: for each slice the intensities that became 0 and 1 (two
               doubles), then the header of the NIfTI file that decoding writes, with extensions
               the codes, slice after slice and row after row
               four bytes: the CRC-32 of all before

Packed codes have ceil(log2 K) bits each, the highest first, and zeros to the end of the last byte.
By LZMA is raw LZMA2 of codes of two bytes each, with the settings below, which make it a coder
of single codes by how often they occur; it is taken where it makes the file smaller.
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
"""Pixels and slices of a scan: decoding one that has so many takes some hundred MiB, not more."""
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
    """Of the model whose codes they are."""
    codebook_size: int
    stride: int
    height: int
    width: int
    windows: tuple[Window, ...]
    """A slice each."""
    header: bytes
    """Of the NIfTI file that decoding writes; see `vqvae.data.nifti.pack_header`."""
    indices: NDArray[np.int64]
    """[S, ceil(height / stride), ceil(width / stride)]."""


def pack(scan: Coded) -> bytes:
    """The file of a coded scan.

    Raises:
        InputError: it is larger than any that `unpack` takes.
    """
    slices = len(scan.windows)
    ends = np.array([(window.low, window.high) for window in scan.windows], "<f8")
    description = ends.tobytes() + scan.header
    too_large = scan.height * scan.width * slices > LARGEST or slices > MOST_SLICES
    if too_large or len(description) > _LARGEST_DESCRIPTION:
        raise InputError(
            f"more than {LARGEST} pixels or {MOST_SLICES} slices, or a header of megabytes; "
            "cut it up"
        )
    method, codes = _smallest(scan.indices.ravel(), _bits(scan.codebook_size))
    squeezed = zlib.compress(description, 9)
    head = _HEAD.pack(
        *(_MAGIC, method, scan.stride, scan.codebook_size, scan.height, scan.width, slices),
        *(len(squeezed), len(description), len(codes), bytes.fromhex(scan.identity)),
    )
    content = head + squeezed + codes
    return content + _CRC.pack(zlib.crc32(content))


def unpack(content: bytes) -> Coded:
    """What `pack` was given.

    Raises:
        InputError: the bytes are not such a file, or one that is damaged or cut short.
    """
    if content[:3] != _MAGIC[:3]:
        raise InputError("not a coded scan (it does not begin with VQC)")
    if content[3:4] != _MAGIC[3:]:
        raise InputError("a coded scan of another version; decode it with a newer vqvae")
    if len(content) < _HEAD.size + _CRC.size:
        raise InputError("cut short; copy it again")
    head = _HEAD.unpack_from(content)
    _, method, stride, size, height, width, slices, squeezed, described, stored, identity = head
    if len(content) != _HEAD.size + squeezed + stored + _CRC.size:
        raise InputError("cut short, or longer than it says; copy it again")
    if zlib.crc32(content[: -_CRC.size]) != _CRC.unpack_from(content, len(content) - 4)[0]:
        raise InputError("damaged (its check sum is wrong); copy it again")
    if slices > MOST_SLICES or not 16 * slices < described <= _LARGEST_DESCRIPTION:
        raise InputError("sizes that no such file has: not written by this program")
    _refuse_foreign(stride, size, height * width * slices)
    middle = _HEAD.size + squeezed
    description = _inflated(content[_HEAD.size : middle], described)
    grid = (slices, -(-height // stride), -(-width // stride))
    flat = _unpacked(method, content[middle : middle + stored], math.prod(grid), _bits(size))
    if flat.max() >= size:
        raise InputError(f"a code beyond the codebook's {size}: not written by this program")
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
    """Before anything is allocated by what the head says."""
    sound = stride in {2, 4, 8, 16} and 2 <= size <= 2**24
    if not sound or not 0 < pixels <= LARGEST:
        raise InputError("sizes that no such file has: not written by this program")


def _windows(content: bytes) -> tuple[Window, ...]:
    ends = np.frombuffer(content, "<f8").reshape(-1, 2)
    if not np.isfinite(ends).all():
        raise InputError("intensities that are not finite: not written by this program")
    return tuple(Window(low, high) for low, high in ends.tolist())


def _bits(size: int) -> int:
    return (size - 1).bit_length()


def _smallest(flat: NDArray[np.int64], bits: int) -> tuple[int, bytes]:
    places = np.arange(bits - 1, -1, -1)
    packed = np.packbits((flat[:, None] >> places & 1).astype(np.uint8)).tobytes()
    if bits > 16:
        return _PACKED, packed
    found = lzma.compress(flat.astype("<u2").tobytes(), lzma.FORMAT_RAW, filters=_FILTERS)
    return (_LZMA, found) if len(found) < len(packed) else (_PACKED, packed)


def _unpacked(method: int, content: bytes, number: int, bits: int) -> NDArray[np.int64]:
    if method == _LZMA and bits <= 16:
        return np.frombuffer(_expanded(content, 2 * number), "<u2").astype(np.int64)
    if method != _PACKED:
        raise InputError(f"codes stored in a way ({method}) that this program does not know")
    if len(content) != -(-number * bits // 8):
        raise InputError("more or fewer codes than its size says: not written by this program")
    digits = np.unpackbits(np.frombuffer(content, np.uint8), count=number * bits)
    values = np.zeros(number, np.int64)
    for place in digits.reshape(number, bits).T:
        values = values << 1 | place
    return values


def _expanded(content: bytes, length: int) -> bytes:
    """Undo LZMA, never to more than one byte beyond `length`."""
    reader = lzma.LZMADecompressor(lzma.FORMAT_RAW, filters=_FILTERS)
    try:
        found = reader.decompress(content, length + 1)
    except (lzma.LZMAError, EOFError) as error:
        raise InputError("codes that cannot be unpacked: not written by this program") from error
    if len(found) != length or not reader.eof or reader.unused_data:
        raise InputError("more or fewer codes than its size says: not written by this program")
    return found


def _inflated(content: bytes, length: int) -> bytes:
    """Undo zlib, never to more than one byte beyond `length`."""
    reader = zlib.decompressobj()
    try:
        found = reader.decompress(content, length + 1)
    except zlib.error as error:
        raise InputError("a description that cannot be unpacked") from error
    if len(found) != length or not reader.eof or reader.unused_data:
        raise InputError("a description of another length: not written by this program")
    return found
