"""The bytes of a NIfTI file, unpacked: as many as its header says, and never more.

A file of a megabyte can claim terabytes, or unpack to a thousand times its size. Neither is
believed: the header is looked at first, and what is read and unpacked is bounded by it.
"""

import math
import stat
import zlib
from pathlib import Path
from typing import Any

import nibabel

from vqvae.errors import InputError

LARGEST = 2**31
"""Bytes of an unpacked file: a scan of 512 x 512 x 1,000 in four bytes a pixel is half of it."""
_SLACK = 2**20  # bytes behind the last pixel that some writers leave
_HEAD = 2**10  # holds a header of either kind
_CHUNK = 2**20
_GZIP_MAGIC = b"\x1f\x8b"
_GZIP = 31  # zlib's number for a gzip stream with its check sum


def read_bytes(path: Path) -> bytes:
    """The content of a NIfTI file, unpacked if it is compressed, whatever its name says.

    Raises:
        InputError: it is no file, or it is larger than any scan, or than its own header says.
        Exception: what nibabel and zlib raise for what they cannot make out.
    """
    _refuse_what_is_no_scan(path)
    content = path.read_bytes()
    if content.startswith(_GZIP_MAGIC):
        return _gunzipped(content, path)
    _refuse_short(content, claimed(content, path))
    return content


def read_head(path: Path) -> bytes:
    """The first bytes of a NIfTI file, unpacked: its header is among them."""
    _refuse_what_is_no_scan(path)
    with path.open("rb") as file:
        content = file.read(_SLACK)
    if not content.startswith(_GZIP_MAGIC):
        return content
    return zlib.decompressobj(_GZIP).decompress(content, _HEAD)


def _refuse_what_is_no_scan(path: Path) -> None:
    status = path.stat()
    if not stat.S_ISREG(status.st_mode):  # a pipe would be waited for, a device read for ever
        raise InputError(f"{path}: not a file")
    if status.st_size > LARGEST:
        raise InputError(f"{path}: larger than {LARGEST} bytes; cut it up")


def image_class(content: bytes) -> Any:
    """NIfTI-2 differs in the size its header begins with, in either byte order."""
    second = content[:4] in ((540).to_bytes(4, "little"), (540).to_bytes(4, "big"))
    return nibabel.Nifti2Image if second else nibabel.Nifti1Image


def head_of(content: bytes) -> Any:
    """The header that a file begins with, without its extensions."""
    kind = image_class(content).header_class
    return kind(content[: kind.template_dtype.itemsize])


def claimed(content: bytes, path: Path) -> int:
    """How many bytes a file has by its own header, from its first to its last pixel's.

    Raises:
        InputError: more than a scan has, or the shape is none.
    """
    header = head_of(content)
    shape = tuple(map(int, header.get_data_shape()))
    if any(side < 0 for side in shape):
        raise InputError(f"{path}: shape {shape} is none")
    offset = max(0, int(header.get_data_offset()))
    size = offset + math.prod(shape) * int(header.get_data_dtype().itemsize)
    if size > LARGEST:
        raise InputError(f"{path}: shape {shape} is more than {LARGEST} bytes; cut it up")
    return size


def _gunzipped(content: bytes, path: Path) -> bytes:
    """Unpack as much as the header says, and a little behind it; check sums are checked."""
    parts: list[bytes] = []
    size, limit, at = 0, None, 0
    reader, fresh, pending = zlib.decompressobj(_GZIP), False, b""
    while pending or at < len(content):
        if not pending:
            pending, at = content[at : at + _CHUNK], at + _CHUNK
        if fresh and not (pending := pending.lstrip(b"\0")):  # between files that were joined
            continue
        part = reader.decompress(pending, _HEAD if limit is None else limit - size + 1)
        parts.append(part)
        size += len(part)
        pending, fresh = reader.unused_data or reader.unconsumed_tail, reader.eof
        if limit is None and (size >= _HEAD or fresh):
            parts = [b"".join(parts)]
            limit = claimed(parts[0], path) + _SLACK
        if limit is not None and size > limit:
            raise InputError(f"{path}: unpacks to more than its header says; it is not opened")
        if fresh:
            reader = zlib.decompressobj(_GZIP)
    if not fresh:
        raise EOFError("the compressed file is cut short")
    found = b"".join(parts)
    _refuse_short(found, (limit or 0) - _SLACK)
    return found


def _refuse_short(content: bytes, wanted: int) -> None:
    if len(content) < wanted:
        raise EOFError(f"cut short: {len(content)} of {wanted} bytes; copy it again")
