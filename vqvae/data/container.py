"""The decompressed bytes of a NIfTI file: as many as its header says, and never more.

A file of one megabyte can claim terabytes, or decompress to a thousand times its size. So the
header is checked first, and no more is read or decompressed than it says.
"""

import logging
import math
import stat
import zlib
from pathlib import Path
from typing import Any

import nibabel

from vqvae.errors import InputError

log = logging.getLogger(__name__)
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
    """Decompress as much as the header says, and `_SLACK` more; zlib verifies the checksums.

    Some programs leave bytes behind the stream that are no part of it. They are ignored, as by
    nibabel, if the image is complete without them.
    """
    stream = _Gzip(content)
    head = stream.read(_HEAD)
    if stream.error and not stream.verified:
        raise stream.error
    expected = claimed(head, path)
    whole = b"".join([head, stream.read(expected + _SLACK + 1 - len(head))])
    if len(whole) > expected + _SLACK:
        raise InputError(f"{path}: decompresses to more bytes than its header says")
    if not stream.complete:
        if stream.verified < expected:
            raise stream.error or EOFError("the compressed file is truncated; copy it again")
        log.warning("%s: bytes behind the end of the compressed image are ignored", path)
        whole = whole[: stream.verified]
    _refuse_short(whole, expected)
    return whole


class _Gzip:
    """Reads a gzip stream of one or more members.

    Attributes:
        complete: whether all that was read is in members that are complete, and nothing is left.
        verified: how many bytes are in members that are complete, with the right checksum.
        error: why the stream cannot be read any further; None if it can.
    """

    def __init__(self, content: bytes) -> None:
        self._pending, self._rest = b"", memoryview(content)
        self._reader = zlib.decompressobj(_GZIP)
        self._size = 0
        self.verified = 0
        self.error: zlib.error | None = None

    @property
    def complete(self) -> bool:
        return self.error is None and self._reader.eof

    def read(self, size: int) -> bytes:
        """Decompress up to `size` bytes; fewer at the end, or where the stream is damaged."""
        parts: list[bytes] = []
        end = self._size + size
        while self._size < end and self.error is None and (self._pending or self._rest):
            if not self._pending:
                self._pending, self._rest = bytes(self._rest[:_CHUNK]), self._rest[_CHUNK:]
            try:
                parts.append(self._step(end - self._size))
            except zlib.error as error:
                self.error = error
        return b"".join(parts)

    def _step(self, size: int) -> bytes:
        if self._reader.eof:
            self._pending = self._pending.lstrip(b"\0")  # zeros between members
            if not self._pending:
                return b""
            self._reader = zlib.decompressobj(_GZIP)
        part = self._reader.decompress(self._pending, size)
        self._pending = self._reader.unused_data or self._reader.unconsumed_tail
        self._size += len(part)
        if self._reader.eof:
            self.verified = self._size
        return part


def _refuse_short(content: bytes, expected: int) -> None:
    if len(content) < expected:
        raise EOFError(f"truncated: {len(content)} of {expected} bytes; copy it again")
