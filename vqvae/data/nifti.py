"""Reading and writing a slice, or a volume of slices, as NIfTI with its geometry."""

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
from vqvae.errors import InputError, UnavailableError, is_transient
from vqvae.files import write_whole

SUFFIXES = (".nii", ".nii.gz")
SMALLEST_SIDE = 11  # the window of SSIM: a smaller slice could be read, but not scored
BRIGHTEST = 1e30  # float32 has room above for differences and sums
# What it mends in a header nibabel also says, on standard error and without the file's name.
logging.getLogger("nibabel.global").setLevel(logging.CRITICAL + 1)
# What nibabel and gzip raise for files that are cut short or damaged, found by damaging some.
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
    """One slice, or the slices of a volume, as a file holds it.

    Attributes:
        pixels: float32 [H, W], or [H, W, S] of a volume, in the file's own intensities.
        affine: float64 [4, 4], from indices (row, column, 0) to millimetres.
        header: nibabel's header; its data shape may have trailing axes of one.
    """

    pixels: NDArray[np.float32]
    affine: NDArray[np.float64]
    header: Any


def is_nifti_name(name: str) -> bool:
    """Whether a file of this name should hold NIfTI; hidden files should not."""
    return name.endswith(SUFFIXES) and not name.startswith(".")


def inner_file(path: Path) -> Path:
    """The file meant by `path`: some unzippers leave a folder `X.nii` that holds `X.nii`."""
    return path / path.name if path.is_dir() else path


def read_image(path: Path) -> Any:
    """Load a NIfTI file of any dimension, whole, into memory.

    Args:
        path: the file, compressed or not, whatever its suffix says.

    Returns:
        The nibabel image.

    Raises:
        InputError: there is no such file, or it is not NIfTI, or it is cut short.
    """
    # Read and unpacked in one go: nibabel's own gzip reader takes several times as long.
    try:
        content = read_bytes(inner_file(path))
        return image_class(content).from_bytes(content)
    except InputError:
        raise
    except _UNREADABLE as error:
        raise _unreadable(path, error) from error


def read_shape(path: Path) -> tuple[int, ...]:
    """The shape a header gives, without trailing axes of one; reads no pixels.

    Raises:
        InputError: the file is not NIfTI.
    """
    try:
        shape = tuple(map(int, head_of(read_head(inner_file(path))).get_data_shape()))
    except InputError:
        raise
    except _UNREADABLE as error:
        raise _unreadable(path, error) from error
    while len(shape) > 2 and shape[-1] == 1:
        shape = shape[:-1]
    return shape


def read_array(image: Any, path: Path) -> NDArray[np.float32]:
    """The image's intensities, scaled as its header says.

    Raises:
        InputError: the file is cut short, or its values are not real and finite numbers.
    """
    with np.errstate(all="ignore"):  # what overflows is found below
        try:
            values = np.asanyarray(image.dataobj)
        except _UNREADABLE as error:
            raise _unreadable(path, error) from error
        if values.dtype.kind not in "biuf":
            raise InputError(f"{path}: pixels of type {values.dtype} are not real numbers")
        array: NDArray[np.float32] = values.astype(np.float32, copy=False)
    if not np.isfinite(array).all():
        raise InputError(f"{path}: some pixels are not finite numbers")
    if array.size and max(-array.min(), array.max()) > BRIGHTEST:
        raise InputError(f"{path}: some pixels are beyond {BRIGHTEST:g}; scale them down")
    return array


def read_slice(path: Path, smallest: int = 1) -> Scan:
    """Read a 2-D slice, with or without trailing axes of one.

    Args:
        path: the file.
        smallest: the fewest pixels a side that will do.

    Raises:
        InputError: the file cannot be read, holds more than one slice, or is too small.
    """
    image = read_image(path)
    shape = tuple(image.shape)
    if len(shape) < 2 or 0 in shape or any(size != 1 for size in shape[2:]):
        raise InputError(
            f"{path}: shape {shape} is not one 2-D slice; cut it up with 'vqvae data import'"
        )
    _refuse_small(path, shape, smallest)
    pixels = read_array(image, path).reshape(shape[:2])
    return Scan(np.ascontiguousarray(pixels), np.asarray(image.affine, np.float64), image.header)


def read_scan(path: Path, smallest: int = 1) -> Scan:
    """Read a slice or a volume, with or without trailing axes of one, as slices [H, W, S].

    Args:
        path: the file.
        smallest: the fewest pixels a side of a slice that will do.

    Raises:
        InputError: the file cannot be read, has more than three axes, or is too small.
    """
    image = read_image(path)
    shape = tuple(image.shape)
    if len(shape) < 2 or 0 in shape or any(size != 1 for size in shape[3:]):
        raise InputError(f"{path}: shape {shape} is neither a slice nor a volume; take it apart")
    _refuse_small(path, shape, smallest)
    pixels = read_array(image, path).reshape(*shape[:2], -1)
    return Scan(np.ascontiguousarray(pixels), np.asarray(image.affine, np.float64), image.header)


def write_slice(
    path: Path, pixels: NDArray[Any], like: Scan, dtype: DTypeLike = np.float32
) -> None:
    """Write `pixels` with the geometry of `like`: affine, units, codes, trailing axes.

    Whoever reads `path` meanwhile sees what was there before.

    Args:
        path: ends with `.nii` or `.nii.gz`.
        pixels: as many rows, columns and slices as `like` has.
        like: the scan whose place in the world the pixels have.
        dtype: the type on disk.

    Raises:
        ValueError: the shapes differ.
    """
    if pixels.shape != like.pixels.shape:
        raise ValueError(f"{path}: pixels {pixels.shape} do not fit a scan of {like.pixels.shape}")
    write_whole(path, content_of(path, pixels, header_for(like, dtype)))


def header_for(like: Scan, dtype: DTypeLike = np.float32) -> Any:
    """The header of a file of other intensities in the place of `like`, of a type on disk."""
    header = like.header.copy()
    header.set_data_dtype(np.dtype(dtype))
    header.set_slope_inter(1, 0)
    # Intensities change, so a window that a viewer was told to use would be wrong.
    header["cal_min"] = header["cal_max"] = 0
    return header


def content_of(path: Path, pixels: NDArray[Any], header: Any) -> bytes:
    """The bytes of a file named `path`: `pixels` in the shape and type that `header` says."""
    values = pixels.astype(header.get_data_dtype(), copy=False).reshape(header.get_data_shape())
    return _content(path, _class_for(header)(values, None, header))


def pack_header(header: Any) -> bytes:
    """A header with its extensions as bytes; `unpack_header` makes an equal one of them."""
    buffer = io.BytesIO()
    header.write_to(buffer)
    return buffer.getvalue()


def unpack_header(content: bytes) -> Any:
    """The header that `pack_header` was given.

    Raises:
        InputError: the bytes are none.
    """
    try:
        return image_class(content).header_class.from_fileobj(io.BytesIO(content))
    except _UNREADABLE as error:
        raise InputError(f"not a NIfTI header ({_reason(error)})") from error


def write_image(path: Path, image: Any) -> None:
    """Write a nibabel NIfTI image into a folder that nobody reads yet; the file is not synced."""
    path.write_bytes(_content(path, image))


def _content(path: Path, image: Any) -> bytes:
    """A file's bytes; equal images give equal ones (no time stamp in the gzip)."""
    content: bytes = image.to_bytes()
    return gzip.compress(content, 1, mtime=0) if path.suffix == ".gz" else content


def _refuse_small(path: Path, shape: tuple[int, ...], smallest: int) -> None:
    if min(shape[:2]) < smallest:
        size = f"{shape[0]}x{shape[1]}"
        raise InputError(f"{path}: {size} pixels are too few; SSIM needs {smallest} a side")


def _class_for(header: Any) -> Any:
    return nibabel.Nifti2Image if header["sizeof_hdr"] == 540 else nibabel.Nifti1Image


def _unreadable(path: Path, error: Exception) -> InputError:
    kind = UnavailableError if is_transient(error) else InputError
    return kind(f"{path}: not a readable NIfTI file ({_reason(error)})")


def _reason(error: BaseException) -> str:
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return " ".join(text.split())
