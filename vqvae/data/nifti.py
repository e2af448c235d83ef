"""Reading and writing slices and volumes as NIfTI files with their geometry."""

import gzip
import io
import logging
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
from nibabel.filebasedimages import ImageFileError
from nibabel.spatialimages import HeaderDataError
from nibabel.wrapstruct import WrapStructError
from numpy.typing import DTypeLike, NDArray

from vqvae.data.container import head_of, image_class, read_bytes, read_head
from vqvae.data.values import as_floats, stored_values
from vqvae.errors import InputError, UnavailableError, is_transient
from vqvae.files import write_whole

SUFFIXES = (".nii", ".nii.gz")
SMALLEST_SIDE = 11  # pixels, the window of SSIM: a smaller slice could be read, but not scored
# nibabel logs what it corrects in a header on standard error, without the file's name.
logging.getLogger("nibabel.global").setLevel(logging.CRITICAL + 1)
# What nibabel and gzip raise for truncated or damaged files; found by damaging files.
_UNREADABLE = (
    OSError,
    EOFError,
    ValueError,
    OverflowError,
    MemoryError,
    zlib.error,
    ImageFileError,
    HeaderDataError,
    WrapStructError,
)


@dataclass(frozen=True)
class Scan:
    """One slice, or the slices of a volume, with the geometry that its file gives.

    Attributes:
        pixels: [H, W], or [H, W, S] for S slices, in the file's own intensities; float32, or
            float64 where float32 is not exact enough (see `vqvae.data.values.as_floats`).
        affine: float64 [4, 4], from indices (row, column, slice) to millimetres.
        header: nibabel's header; its shape may have trailing axes of length 1.
    """

    pixels: NDArray[Any]
    affine: NDArray[np.float64]
    header: Any


def is_nifti_name(name: str) -> bool:
    """Whether a file name is that of a NIfTI file; hidden files are not."""
    return name.lower().endswith(SUFFIXES) and not name.startswith(".")


def inner_file(path: Path) -> Path:
    """The file for `path`: some unzip programs create a folder `X.nii` with the file `X.nii`."""
    return path / path.name if path.is_dir() else path


def read_image(path: Path) -> Any:
    """Load a NIfTI file of any dimension, compressed or not, into memory as a nibabel image.

    Raises:
        InputError: the file is not NIfTI, or it is truncated.
        UnavailableError: the file does not exist, or cannot be read now.
    """
    # Read and decompressed at once: nibabel's own gzip reader takes several times as long.
    try:
        content = read_bytes(inner_file(path))
        return image_class(content).from_bytes(content)
    except InputError:
        raise
    except _UNREADABLE as error:
        raise _unreadable(path, error) from error


def read_geometry(path: Path) -> tuple[tuple[int, ...], NDArray[np.float64]]:
    """The shape, without trailing axes of length 1, and the affine in a file's header.

    Raises:
        InputError: the file is not NIfTI.
        UnavailableError: the file does not exist, or cannot be read now.
    """
    try:
        header = head_of(read_head(inner_file(path)))
        shape = tuple(map(int, header.get_data_shape()))
        affine = np.asarray(header.get_best_affine(), np.float64)
    except InputError:
        raise
    except _UNREADABLE as error:
        raise _unreadable(path, error) from error
    while len(shape) > 2 and shape[-1] == 1:
        shape = shape[:-1]
    return shape, affine


def read_values(image: Any, path: Path, *, fill_background: bool = False) -> NDArray[Any]:
    """The intensities of a nibabel image; see `vqvae.data.values.stored_values`.

    Raises:
        InputError: the file is truncated, or its values are not real and finite numbers.
    """
    try:
        return stored_values(image, path, fill_background=fill_background)
    except InputError:
        raise
    except _UNREADABLE as error:
        raise _unreadable(path, error) from error


def read_slice(path: Path, smallest: int = 1) -> Scan:
    """Read a 2-D slice, with or without trailing axes of length 1.

    Raises:
        InputError: the file is not valid, has several slices, or a side is below `smallest` pixels.
        UnavailableError: the file does not exist, or cannot be read now.
    """
    image = read_image(path)
    shape = tuple(image.shape)
    if len(shape) < 2 or 0 in shape or any(size != 1 for size in shape[2:]):
        raise InputError(
            f"{path}: shape {shape} is not one 2-D slice; convert it with 'vqvae data import'"
        )
    _refuse_small(path, shape, smallest)
    pixels = as_floats(read_values(image, path), path).reshape(shape[:2])
    return Scan(np.ascontiguousarray(pixels), np.asarray(image.affine, np.float64), image.header)


def read_scan(path: Path, smallest: int = 1) -> Scan:
    """Read a slice or a volume, with or without trailing axes of length 1, as slices [H, W, S].

    Raises:
        InputError: the file is not valid, has over three axes, or a side is below `smallest`.
        UnavailableError: the file does not exist, or cannot be read now.
    """
    image = read_image(path)
    shape = tuple(image.shape)
    if len(shape) < 2 or 0 in shape or any(size != 1 for size in shape[3:]):
        raise InputError(
            f"{path}: shape {shape} is neither a slice nor a volume; split it into volumes"
        )
    _refuse_small(path, shape, smallest)
    pixels = as_floats(read_values(image, path), path).reshape(*shape[:2], -1)
    return Scan(np.ascontiguousarray(pixels), np.asarray(image.affine, np.float64), image.header)


def write_slice(
    path: Path, pixels: NDArray[Any], like: Scan, dtype: DTypeLike | None = None
) -> None:
    """Write `pixels` with the geometry of `like`: affine, units, codes, trailing axes.

    The file is written atomically: until the end, a reader of `path` sees the old content.

    Args:
        path: ends with `.nii` or `.nii.gz`.
        pixels: of the same shape as those of `like`.
        like: the scan that gives the geometry.
        dtype: the type on disk; that of the pixels of `like` by default.

    Raises:
        ValueError: the shapes differ.
    """
    if pixels.shape != like.pixels.shape:
        raise ValueError(
            f"{path}: pixels of shape {pixels.shape} do not fit a scan of {like.pixels.shape}"
        )
    write_whole(path, content_of(path, pixels, header_for(like, dtype)))


def header_for(like: Scan, dtype: DTypeLike | None = None) -> Any:
    """The header of a file with the geometry of `like`, other intensities, and `dtype` on disk.

    By default `dtype` is that of the pixels of `like`: float32, or float64 where that is needed.
    """
    header = like.header.copy()
    header.set_data_dtype(np.dtype(like.pixels.dtype if dtype is None else dtype))
    header.set_slope_inter(1, 0)
    # The intensities change, so the display window of the original would be wrong.
    header["cal_min"] = header["cal_max"] = 0
    return header


def content_of(path: Path, pixels: NDArray[Any], header: Any) -> bytes:
    """The bytes of a file named `path`: `pixels` in the shape and type that `header` gives."""
    values = pixels.astype(header.get_data_dtype(), copy=False).reshape(header.get_data_shape())
    return _content(path, _class_for(header)(values, None, header))


def pack_header(header: Any) -> bytes:
    """A header with its extensions, as bytes for `unpack_header`."""
    buffer = io.BytesIO()
    header.write_to(buffer)
    return buffer.getvalue()


def unpack_header(content: bytes) -> Any:
    """The header that `pack_header` was given.

    Raises:
        InputError: the bytes are not a NIfTI header.
    """
    try:
        return image_class(content).header_class.from_fileobj(io.BytesIO(content))
    except _UNREADABLE as error:
        raise InputError(f"not a NIfTI header ({_reason(error)})") from error


def write_image(path: Path, image: Any) -> None:
    """Write a nibabel image, neither atomically nor synced: for folders that nobody reads yet."""
    path.write_bytes(_content(path, image))


def _content(path: Path, image: Any) -> bytes:
    """The bytes of a file; equal images give equal bytes (there is no time stamp in the gzip)."""
    content: bytes = image.to_bytes()
    return gzip.compress(content, 1, mtime=0) if path.suffix.lower() == ".gz" else content


def _refuse_small(path: Path, shape: tuple[int, ...], smallest: int) -> None:
    if min(shape[:2]) < smallest:
        size = f"{shape[0]}x{shape[1]}"
        raise InputError(
            f"{path}: {size} pixels are too few; SSIM needs at least {smallest} a side"
        )


def _class_for(header: Any) -> Any:
    return nibabel.Nifti2Image if header["sizeof_hdr"] == 540 else nibabel.Nifti1Image


def _unreadable(path: Path, error: Exception) -> InputError:
    kind = UnavailableError if is_transient(error) else InputError
    return kind(f"{path}: not a readable NIfTI file ({_reason(error)})")


def _reason(error: BaseException) -> str:
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return " ".join(text.split())
