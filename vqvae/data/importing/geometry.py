"""Cutting volumes into slices of a given size, each with the affine that fits it.

An affine maps the indices (row, column, 0) of a slice to scanner coordinates in millimetres. Every
operation on the pixels also changes the affine.
"""

import re
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, Self

import numpy as np
from nibabel.orientations import apply_orientation, inv_ornt_aff, io_orientation
from numpy.typing import NDArray
from scipy.ndimage import affine_transform, gaussian_filter

from vqvae.data.nifti import SMALLEST_SIDE, read_values
from vqvae.errors import InputError

SHORTEST, LONGEST = 1e-4, 1e4
"""The valid range of the distance between neighbouring pixels, in mm; both ends are excluded."""


class Axis(StrEnum):
    """The orientation of slices; the values are those of the option `--axis`."""

    SAGITTAL = "sagittal"
    CORONAL = "coronal"
    AXIAL = "axial"

    @property
    def number(self) -> int:
        """The index of the axis across the slices, in a volume with axes right, front, head."""
        return list(Axis).index(self)


class Fit(StrEnum):
    """How a slice is brought to a size; see `fitted`."""

    CROP = "crop"
    RESAMPLE = "resample"


@dataclass(frozen=True)
class Size:
    """Rows and columns of a slice."""

    height: int
    width: int

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `256x128`.

        Raises:
            InputError: it has another form, or a side is not between 11 and 4096.
        """
        match = re.fullmatch(r"(\d+)x(\d+)", text)
        sides = [int(side) for side in match.groups()] if match else []
        if not sides or not all(SMALLEST_SIDE <= side <= 4096 for side in sides):
            raise InputError(
                f"--size {text!r}: write HEIGHTxWIDTH, as in 256x128 ({SMALLEST_SIDE} to 4096 each)"
            )
        return cls(*sides)


@dataclass(frozen=True)
class Cut:
    """One slice of a volume.

    Attributes:
        pixels: [H, W]: integers in the file's own type, or float32, or float64 where float32 is
            not exact enough (see `vqvae.data.values`).
        affine: float64 [4, 4], from indices (row, column, 0) to millimetres.
    """

    pixels: NDArray[Any]
    affine: NDArray[np.float64]


def cut(image: Any, path: Path, axis: Axis, *, fill_background: bool = False) -> list[Cut]:
    """Cut a volume into slices across one of the body's axes, which its header gives.

    Args:
        image: a nibabel image with 3 axes; an oblique one is cut across the nearest axis. An image
            with 2 axes is a slice already and stays as it is.
        path: its file, for messages.
        axis: the axis across which it is cut.
        fill_background: see `vqvae.data.values.stored_values`.

    Raises:
        InputError: the image has more axes, its affine is not valid, or it cannot be read.
    """
    shape = image.shape
    if len(shape) < 2 or 0 in shape or any(size != 1 for size in shape[3:]):
        raise InputError(f"{path}: shape {shape} is not one volume; split it into volumes first")
    _check_affine(image.affine, path)
    values = read_values(image, path, fill_background=fill_background)
    affine = np.asarray(image.affine, np.float64)
    if len(shape) == 2 or shape[2] == 1:
        return [Cut(values.reshape(shape[:2]), affine)]
    # Not by nibabel's `as_closest_canonical`: it makes an image, which integers of 64 bits may not.
    turn = io_orientation(affine)
    volume = apply_orientation(values.reshape(shape[:3]), turn)
    affine = affine @ inv_ornt_aff(turn, shape[:3])
    # The columns of the two axes in the slice, then that of the axis across it.
    order = [*(index for index in range(3) if index != axis.number), axis.number]
    affine = affine[:, [*order, 3]]
    stack = np.moveaxis(volume, axis.number, 0)
    return [Cut(pixels, moved(affine, (0, 0, number))) for number, pixels in enumerate(stack)]


def fitted(piece: Cut, size: Size, fit: Fit, background: float, *, labels: bool = False) -> Cut:
    """Bring a slice to a size; its centre stays the centre.

    Cropping keeps the pixels, and cuts or pads all sides evenly. Resampling keeps the whole slice
    and its proportions: pixels become square, as small as the size allows, and the rest is padded.

    Args:
        piece: the slice.
        size: the new size.
        fit: crop or resample.
        background: the intensity of padded pixels.
        labels: whether the pixels are labels; a resampled pixel gets the label of the nearest one.
    """
    if fit is Fit.CROP:
        return _cropped(piece, size, background)
    return _resampled(piece, size, background, labels=labels)


def moved(affine: NDArray[np.float64], index: tuple[float, float, float]) -> NDArray[np.float64]:
    """The affine with its origin moved to `index` of the given affine."""
    result = affine.copy()
    result[:3, 3] = affine[:3, :3] @ np.asarray(index) + affine[:3, 3]
    return result


def _check_affine(affine: NDArray[np.float64], path: Path) -> None:
    """Raise InputError unless the affine is finite and its pixel spacing is possible."""
    with np.errstate(over="ignore"):
        spacing = np.linalg.norm(affine[:3, :3], axis=0)
    valid = (spacing > SHORTEST).all() and (spacing < LONGEST).all()
    if not (np.isfinite(affine).all() and valid):
        raise InputError(
            f"{path}: the affine in its header is not valid (pixel spacing {spacing} mm, not "
            f"between {SHORTEST:g} and {LONGEST:g}); correct the affine"
        )


def _cropped(piece: Cut, size: Size, background: float) -> Cut:
    new_shape = (size.height, size.width)
    result = np.full(new_shape, background, piece.pixels.dtype)
    # Positive where pixels are cut off at the start, negative where some are added.
    starts = [(old - new) // 2 for old, new in zip(piece.pixels.shape, new_shape, strict=True)]
    source, target = [], []
    for old, new, start in zip(piece.pixels.shape, new_shape, starts, strict=True):
        source.append(slice(max(start, 0), min(start + new, old)))
        target.append(slice(max(-start, 0), min(old - start, new)))
    result[tuple(target)] = piece.pixels[tuple(source)]
    return Cut(result, moved(piece.affine, (starts[0], starts[1], 0)))


def _resampled(piece: Cut, size: Size, background: float, *, labels: bool) -> Cut:
    old = np.asarray(piece.pixels.shape, float)
    new = np.asarray([size.height, size.width], float)
    spacing = np.linalg.norm(piece.affine[:3, :2], axis=0)
    pixel = float((old * spacing / new).max())  # side of a new pixel, in mm
    step = pixel / spacing  # old pixels per new pixel
    start = (old - 1) / 2 - step * (new - 1) / 2
    # Smoothing before downsampling: detail finer than the new pixels would cause aliasing. A sigma
    # above the size of the slice would not change the result: the smoothed slice is constant.
    sigma = np.zeros(2) if labels else np.clip((step - 1) / 2, 0, old)
    floats = piece.pixels.astype(np.result_type(piece.pixels, np.float32), copy=False)
    smooth = gaussian_filter(floats, sigma, mode="nearest")
    pixels = affine_transform(
        smooth, step, start, (size.height, size.width), order=0 if labels else 1, cval=background
    )
    affine = moved(piece.affine, (start[0], start[1], 0))
    affine[:3, :2] *= step
    return Cut(_like(pixels, piece.pixels.dtype), affine)


def _like(pixels: NDArray[Any], dtype: np.dtype[Any]) -> NDArray[Any]:
    """Floats as numbers of `dtype`: for integers rounded, and kept within the type's limits."""
    if dtype.kind not in "iu":
        return pixels.astype(dtype)
    limits = np.iinfo(dtype)
    # float64 rounds the largest integer of 64 bits up to a number that does not fit into the type.
    top = float(limits.max) if limits.bits < 64 else np.nextafter(float(limits.max), 0)
    whole: NDArray[Any] = np.rint(pixels).clip(limits.min, top).astype(dtype)
    return whole
