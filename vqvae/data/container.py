"""The decompressed bytes of a NIfTI file: as many as its header says, and never more.

A file of one megabyte can claim terabytes, or decompress to a thousand times its size. So the
header is checked first, and no more is read or decompressed than it says.
"""

import math
import stat
import zlib
from pathlib import Path
from typing import Any

import nibabel

from vqvae.errors import InputError

LARGEST = 2**31
"""The largest decompressed file, in bytes: twice a scan of 512 x 512 x 1,000 pixels of 4 bytes."""
_SLACK = 2**20  # bytes that some writers leave after the last pixel
_HEAD = 2**10  # bytes that contain the header, of NIfTI-1 or NIfTI-2
_CHUNK = 2**20
_GZIP_MAGIC = b"\x1f\x8b"
_GZIP = 31  # zlib's number for a gzip stream with its checksum


def read_bytes(path: Path) -> bytes:
    """The content of a NIfTI file, decompressed if it is compressed, whatever its suffix.

    Raises:
        InputError: it is not a file, or it is larger than any scan, or than its own header says.
        Exception: nibabel or zlib cannot read it.
    """
    _check_file(path)
    content = path.read_bytes()
    if content.startswith(_GZIP_MAGIC):
        return _gunzipped(content, path)
    _refuse_short(content, claimed(content, path))
    return content


def read_head(path: Path) -> bytes:
    """The first bytes of a NIfTI file, decompressed; they contain its header."""
    _check_file(path)
    with path.open("rb") as file:
        content = file.read(_SLACK)
    if not content.startswith(_GZIP_MAGIC):
        return content
    return zlib.decompressobj(_GZIP).decompress(content, _HEAD)


def _check_file(path: Path) -> None:
    """Raise InputError unless `path` is a regular file of a possible size."""
    status = path.stat()
    if not stat.S_ISREG(status.st_mode):  # reading a pipe or a device might never end
        raise InputError(f"{path}: not a file")
    if status.st_size > LARGEST:
        raise InputError(f"{path}: larger than {LARGEST} bytes; split it into smaller volumes")


def image_class(content: bytes) -> Any:
    """The nibabel class of the image: a NIfTI-2 header starts with its own size, 540."""
    second = content[:4] in ((540).to_bytes(4, "little"), (540).to_bytes(4, "big"))
    return nibabel.Nifti2Image if second else nibabel.Nifti1Image


def head_of(content: bytes) -> Any:
    """The header at the start of a file's content, without extensions."""
    kind = image_class(content).header_class
    return kind(content[: kind.template_dtype.itemsize])


def claimed(content: bytes, path: Path) -> int:
    """The size of a file in bytes as its own header says, up to the last pixel.

    Raises:
        InputError: it is larger than any scan, or the shape is not valid.
    """
    header = head_of(content)
    shape = tuple(map(int, header.get_data_shape()))
    if any(side < 0 for side in shape):
        raise InputError(f"{path}: shape {shape} is not valid; the header is damaged")
    offset = max(0, int(header.get_data_offset()))
    size = offset + math.prod(shape) * int(header.get_data_dtype().itemsize)
    if size > LARGEST:
        raise InputError(
            f"{path}: shape {shape} is more than {LARGEST} bytes; split it into smaller volumes"
        )
    return size


def _gunzipped(content: bytes, path: Path) -> bytes:
    """Decompress as much as the header says, and `_SLACK` more; zlib verifies the checksums."""
    parts: list[bytes] = []
    size, limit, at = 0, None, 0
    reader, fresh, pending = zlib.decompressobj(_GZIP), False, b""
    while pending or at < len(content):
        if not pending:
            pending, at = content[at : at + _CHUNK], at + _CHUNK
        if fresh and not (pending := pending.lstrip(b"\0")):  # zeros between gzip members
            continue
        part = reader.decompress(pending, _HEAD if limit is None else limit - size + 1)
        parts.append(part)
        size += len(part)
        pending, fresh = reader.unused_data or reader.unconsumed_tail, reader.eof
        if limit is None and (size >= _HEAD or fresh):
            parts = [b"".join(parts)]
            limit = claimed(parts[0], path) + _SLACK
        if limit is not None and size > limit:
            raise InputError(f"{path}: decompresses to more bytes than its header says")
        if fresh:
            reader = zlib.decompressobj(_GZIP)
    if not fresh:
        raise EOFError("the compressed file is truncated; copy it again")
    whole = b"".join(parts)
    _refuse_short(whole, (limit or 0) - _SLACK)
    return whole


def _refuse_short(content: bytes, expected: int) -> None:
    if len(content) < expected:
        raise EOFError(f"truncated: {len(content)} of {expected} bytes; copy it again")
