"""The header of a NIfTI file in as few bytes as restore it exactly.

A NIfTI-1 header has 348 bytes, and four more that say that nothing follows. Most of them are the
same in most files: only those that differ from a template are stored. The affine of the slices is
there twice, as a quaternion with an offset and as three rows (`srow`): of the rows, only the
difference to those that follow from the quaternion is stored. Any other header (NIfTI-2, with
extensions) is compressed as a whole.
"""

import math
import struct
import zlib

from vqvae.errors import InputError
from vqvae.inference.byte_stream import Reader, to_varint, to_zigzag

LARGEST_HEADER = 2**24
_WHOLE, _DIFFERENCES = range(2)
_LENGTH = 352
_PIXDIM, _CODES, _QUATERNION, _ROWS, _ROWS_END = 76, 252, 256, 280, 328
"""The offsets of qfac and the three voxel sizes, of the codes that say whether quaternion and rows
are used, of the quaternion's b, c, d with the offset, and of the three rows, in the header."""
_FLOATS = struct.Struct("<12f")
_BITS = struct.Struct("<12i")
_MASK = struct.Struct("<H")
_LARGEST_FLOAT = 3e38


def pack_header_bytes(header: bytes, height: int, width: int, slices: int) -> bytes:
    """A header as bytes that say themselves where they end.

    Args:
        header: the header, as `vqvae.data.nifti.pack_header` gives it.
        height: the rows of a slice; the template has these sizes.
        width: the columns of a slice.
        slices: the number of slices.
    """
    compressed = zlib.compress(header, 9)
    found = bytes([_WHOLE]) + to_varint(len(header)) + to_varint(len(compressed)) + compressed
    if len(header) == _LENGTH:
        template = _template(height, width, slices)
        differences = bytes([_DIFFERENCES]) + _runs(header, template) + _row_differences(header)
        found = min(found, differences, key=len)
    return found


def unpack_header_bytes(reader: Reader, height: int, width: int, slices: int) -> bytes:
    """The header that `pack_header_bytes` was given.

    Raises:
        InputError: the bytes are not those of a header.
    """
    (kind,) = reader.take(1)
    if kind == _WHOLE:
        length = reader.varint()
        return _inflated(reader.take(reader.varint()), length)
    if kind != _DIFFERENCES:
        raise InputError(f"its header is stored by method {kind}; the valid ones are 0 and 1")
    header = bytearray(_template(height, width, slices))
    at = 0
    for _ in range(reader.varint()):
        at += reader.varint()
        run = reader.take(reader.varint())
        if at + len(run) > _LENGTH:
            raise InputError("its header is too long: not written by this program")
        header[at : at + len(run)] = run
        at += len(run)
    bits = _BITS.unpack(_predicted_rows(bytes(header)))
    (differ,) = _MASK.unpack(reader.take(_MASK.size))
    rows = [
        _signed(bit + reader.zigzag()) if differ >> place & 1 else bit
        for place, bit in enumerate(bits)
    ]
    header[_ROWS:_ROWS_END] = _BITS.pack(*rows)
    return bytes(header)


def _template(height: int, width: int, slices: int) -> bytes:
    """A NIfTI-1 header of float32 slices, little-endian, as this package and others write them."""
    header = bytearray(_LENGTH)
    dimensions = 2 if slices == 1 else 3
    sizes = (size & 32767 for size in (height, width, slices))
    struct.pack_into("<i", header, 0, 348)
    struct.pack_into("<8h", header, 40, dimensions, *sizes, *[1] * 4)
    struct.pack_into("<2h", header, 70, 16, 32)  # float32, 32 bits
    struct.pack_into("<8f", header, _PIXDIM, *[1.0] * 8)
    struct.pack_into("<3f", header, 108, 352.0, 1.0, 0.0)  # where pixels begin, slope, intercept
    struct.pack_into("<B", header, 123, 2)  # millimetres
    struct.pack_into("<h", header, 254, 2)  # the rows are aligned to another scan
    struct.pack_into("<4s", header, 344, b"n+1\0")
    return bytes(header)


def _runs(header: bytes, template: bytes) -> bytes:
    """The bytes that differ from the template, outside of the rows: runs with their gaps."""
    outside = (*range(_ROWS), *range(_ROWS_END, _LENGTH))
    places = [at for at in outside if header[at] != template[at]]
    runs: list[list[int]] = []
    for at in places:
        if runs and at - runs[-1][1] <= 2:  # another run would cost two bytes
            runs[-1][1] = at + 1
        else:
            runs.append([at, at + 1])
    content, end = to_varint(len(runs)), 0
    for first, last in runs:
        content += to_varint(first - end) + to_varint(last - first) + header[first:last]
        end = last
    return content


def _row_differences(header: bytes) -> bytes:
    """Which of the rows' numbers differ from the predicted ones (a bit each), and by how much."""
    predicted = _BITS.unpack(_predicted_rows(header))
    rows = _BITS.unpack(header[_ROWS:_ROWS_END])
    differences = [_signed(row - guess) for row, guess in zip(rows, predicted, strict=True)]
    differ = sum(1 << place for place, difference in enumerate(differences) if difference)
    return _MASK.pack(differ) + b"".join(to_varint(to_zigzag(each)) for each in differences if each)


def _signed(number: int) -> int:
    """The number modulo 2^32, from -2^31 to 2^31 - 1."""
    return (number + 2**31) % 2**32 - 2**31


def _predicted_rows(header: bytes) -> bytes:
    """The three rows that follow from quaternion, voxel sizes and offset, as 12 float32.

    NIfTI-1's method 2. It uses only operations that IEEE 754 rounds exactly, in a fixed order, so
    that every machine gives the same bits.
    """
    if not any(header[_CODES:_QUATERNION]):
        return bytes(_FLOATS.size)  # neither the quaternion nor the rows are used
    qfac, *sizes = struct.unpack_from("<4f", header, _PIXDIM)
    b, c, d, *offset = struct.unpack_from("<6f", header, _QUATERNION)
    a = math.sqrt(max(0.0, 1.0 - (b * b + c * c + d * d)))
    rotation = (
        (a * a + b * b - c * c - d * d, 2 * (b * c - a * d), 2 * (b * d + a * c)),
        (2 * (b * c + a * d), a * a + c * c - b * b - d * d, 2 * (c * d - a * b)),
        (2 * (b * d - a * c), 2 * (c * d + a * b), a * a + d * d - c * c - b * b),
    )
    scales = (sizes[0], sizes[1], -sizes[2] if qfac == -1 else sizes[2])
    rows = [
        value
        for row, shift in zip(rotation, offset, strict=True)
        for value in (*(x * scale for x, scale in zip(row, scales, strict=True)), shift)
    ]
    return _FLOATS.pack(*(v if abs(v) < _LARGEST_FLOAT else 0.0 for v in rows))


def _inflated(content: bytes, length: int) -> bytes:
    """Decompress zlib to `length` bytes; at most one byte more is ever allocated."""
    if not 0 < length <= LARGEST_HEADER:
        raise InputError("its header has impossible sizes: not written by this program")
    reader = zlib.decompressobj()
    try:
        found = reader.decompress(content, length + 1)
    except zlib.error as error:
        raise InputError("its header cannot be decompressed: damaged") from error
    if len(found) != length or not reader.eof or reader.unused_data:
        raise InputError("its header has another length: not written by this program")
    return found
