"""Encoding scans to files of codes, and decoding these to scans."""

import gzip
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from vqvae.data import intensity
from vqvae.data.nifti import (
    SMALLEST_SIDE,
    content_of,
    header_for,
    inner_file,
    is_nifti_name,
    pack_header,
    read_scan,
    unpack_header,
)
from vqvae.errors import InputError
from vqvae.files import write_whole
from vqvae.inference.tasks import Failed, Task, run_each, writing
from vqvae.inference.vqc_format import SUFFIX, Coded, pack, short_window, unpack
from vqvae.model.codec import Codec, bits_per_pixel, decode, encode

_GZIP_MAGIC = b"\x1f\x8b"


@dataclass(frozen=True)
class Encoded:
    """The result of encoding one scan; sizes are in bytes."""

    source: Path
    target: Path
    pixels: int
    before: int
    """The size of the scan as a `.nii.gz` file."""
    compressed_here: bool
    """Whether the scan is not compressed; `before` is then its size after gzip (level 6)."""
    after: int
    """The size of the file of codes."""
    bits_per_pixel: float
    """The rate of the codes alone: log2 K bits for each."""


@dataclass(frozen=True)
class Decoded:
    """The result of decoding one file."""

    source: Path
    """The file of codes."""
    target: Path
    """The scan that was written."""


def coded_name(name: str) -> str:
    """The name of a scan's file of codes: the scan's name, with its suffix, and `.vqc`."""
    return name + SUFFIX


def scan_name(name: str) -> str:
    """The name of the scan that is decoded from a file of codes.

    Raises:
        InputError: `name` without `.vqc` is not the name of a NIfTI file.
    """
    scan = name.removesuffix(SUFFIX)
    if not is_nifti_name(scan):
        raise InputError(f"rename it to end in .nii{SUFFIX} or .nii.gz{SUFFIX}")
    return scan


def encode_all(codec: Codec, tasks: Sequence[Task]) -> Iterator[Encoded | Failed[Encoded]]:
    """Encode one scan after another; one that fails does not stop the others."""
    return run_each(tasks, lambda task: _encode(codec, task))


def decode_all(codec: Codec, tasks: Sequence[Task]) -> Iterator[Decoded | Failed[Decoded]]:
    """Decode one file after another; one that fails does not stop the others."""
    return run_each(tasks, lambda task: _decode(codec, task))


def _encode(codec: Codec, task: Task) -> Encoded:
    scan = read_scan(task.source, SMALLEST_SIDE)
    height, width, slices = scan.pixels.shape
    pairs = [intensity.scale(scan.pixels[..., at]) for at in range(slices)]
    windows = [window for _, window in pairs]
    if scan.pixels.dtype != np.float64:
        windows = [short_window(window) for window in windows]
    coded = Coded(
        height=height,
        width=width,
        windows=tuple(windows),
        header=pack_header(header_for(scan)),
        indices=np.stack([encode(codec, scaled) for scaled, _ in pairs]),
    )
    try:
        content = pack(coded, codec)
    except InputError as error:
        raise InputError(f"{task.source}: {error}") from error
    before, compressed_here = _gzip_size(task.source)
    with writing(task, task.target):
        write_whole(task.target, content)
    return Encoded(
        source=task.source,
        target=task.target,
        pixels=scan.pixels.size,
        before=before,
        compressed_here=compressed_here,
        after=len(content),
        bits_per_pixel=bits_per_pixel(codec, coded.indices.size, scan.pixels.size),
    )


def _decode(codec: Codec, task: Task) -> Decoded:
    try:
        coded = unpack(inner_file(task.source).read_bytes(), codec)
        header = _header_of(coded)
        pixels = _pixels(codec, coded, header.get_data_dtype().newbyteorder("="))
    except InputError as error:
        raise InputError(f"{task.source}: {error}") from error
    content = content_of(task.target, pixels, header)
    _refuse_other_content(task.target, content)
    with writing(task, task.target):
        write_whole(task.target, content)
    return Decoded(task.source, task.target)


def _header_of(coded: Coded) -> Any:
    header = unpack_header(coded.header)
    shape = tuple(map(int, header.get_data_shape()))
    sizes = (coded.height, coded.width, len(coded.windows))
    if shape[:2] != sizes[:2] or math.prod(shape) != math.prod(sizes):
        raise InputError("its header has another size than its codes: not written by this program")
    if header.get_data_dtype().newbyteorder("=") not in (np.float32, np.float64):
        raise InputError("the type in its header is no float: not written by this program")
    return header


def _pixels(codec: Codec, coded: Coded, dtype: np.dtype[Any]) -> np.ndarray:
    """The scan's intensities, float32 or float64 [H, W, S]."""
    result = np.empty((coded.height, coded.width, len(coded.windows)), dtype)
    for at, window in enumerate(coded.windows):
        decoded = decode(codec, coded.indices[at], coded.height, coded.width)
        result[..., at] = intensity.restore(decoded, window, dtype)
    return result


def _refuse_other_content(target: Path, content: bytes) -> None:
    """Do not replace an original scan; decoding the same codes twice is allowed."""
    if target.is_file() and target.read_bytes() != content:
        raise InputError(f"{target}: another file is there already; give another --out")


def _gzip_size(path: Path) -> tuple[int, bool]:
    """The size of a scan as a gzip file, and whether it had to be compressed for that."""
    content = inner_file(path).read_bytes()
    if content.startswith(_GZIP_MAGIC):
        return len(content), False
    return len(gzip.compress(content, 6)), True
