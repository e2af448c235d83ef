"""Cutting volumes into slices of a size, each with its true place in the world.

An affine takes indices (row, column, 0) of a slice to millimetres; whatever is done to the pixels
is done to it.
"""

import re
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, Self

import nibabel
import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import affine_transform, gaussian_filter

from vqvae.data.nifti import SMALLEST_SIDE, read_array
from vqvae.errors import InputError

SHORTEST, LONGEST = 1e-4, 1e4
"""Millimetres from one pixel to the next."""


class Axis(StrEnum):
    """Which way a volume is cut; the value of each is what a person writes."""

    SAGITTAL = "sagittal"
    CORONAL = "coronal"
    AXIAL = "axial"

    @property
    def number(self) -> int:
        """The axis across the slices once the volume's axes run right, front, head."""
        return list(Axis).index(self)


class Fit(StrEnum):
    """How a slice comes to its size."""

    CROP = "crop"
    RESAMPLE = "resample"


@dataclass(frozen=True)
class Size:
    """Rows and columns."""

    height: int
    width: int

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `256x128`.

        Raises:
            InputError: it is written otherwise, or a side is not between 11 and 4096.
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
        pixels: float32 [H, W].
        affine: float64 [4, 4].
    """

    pixels: NDArray[np.float32]
    affine: NDArray[np.float64]


def cut(image: Any, path: Path, axis: Axis) -> list[Cut]:
    """Cut a volume across one of the body's axes, as its header tells them.

    Args:
        image: a nibabel image of 3 axes; oblique ones are cut along their nearest axis. One
            of 2 axes is a slice already and stays as it is.
        path: named in errors.
        axis: the axis that is cut across.

    Raises:
        InputError: the volume has more axes, or cannot be read.
    """
    shape = image.shape
    if len(shape) < 2 or 0 in shape or any(size != 1 for size in shape[3:]):
        raise InputError(f"{path}: shape {shape} is not one volume; take it apart first")
    _refuse_nowhere(image.affine, path)
    if len(shape) == 2 or shape[2] == 1:
        pixels = read_array(image, path).reshape(shape[:2])
        return [Cut(pixels, np.asarray(image.affine, np.float64))]
    upright = nibabel.as_closest_canonical(image)
    volume = read_array(upright, path).reshape(upright.shape[:3])
    # The columns of the two axes in the slice, then that across it.
    order = [*(index for index in range(3) if index != axis.number), axis.number]
    affine = np.asarray(upright.affine, np.float64)[:, [*order, 3]]
    stack = np.moveaxis(volume, axis.number, 0)
    return [Cut(pixels, moved(affine, (0, 0, number))) for number, pixels in enumerate(stack)]


def fitted(piece: Cut, size: Size, fit: Fit, background: float) -> Cut:
    """Bring a slice to a size around its own middle.

    Cropping keeps the pixels and cuts or pads evenly. Resampling keeps the whole slice and its
    proportions: square pixels, as small as will do, and padding on the sides that are left.
    """
    if fit is Fit.CROP:
        return _cropped(piece, size, background)
    return _resampled(piece, size, background)


def moved(affine: NDArray[np.float64], index: tuple[float, float, float]) -> NDArray[np.float64]:
    """The affine whose origin lies at `index` of the old one."""
    result = affine.copy()
    result[:3, 3] = affine[:3, :3] @ np.asarray(index) + affine[:3, 3]
    return result


def _refuse_nowhere(affine: NDArray[np.float64], path: Path) -> None:
    """Refuse a place in the world that is none: axes that are not numbers, or of no length."""
    steps = np.linalg.norm(affine[:3, :3], axis=0)
    if not (np.isfinite(affine).all() and (steps > SHORTEST).all() and (steps < LONGEST).all()):
        raise InputError(f"{path}: its header puts it nowhere (steps {steps} mm); fix its affine")


def _cropped(piece: Cut, size: Size, background: float) -> Cut:
    wanted = (size.height, size.width)
    result = np.full(wanted, background, np.float32)
    # Positive where rows are cut off the start, negative where some are added.
    starts = [(have - want) // 2 for have, want in zip(piece.pixels.shape, wanted, strict=True)]
    source, target = [], []
    for have, want, start in zip(piece.pixels.shape, wanted, starts, strict=True):
        source.append(slice(max(start, 0), min(start + want, have)))
        target.append(slice(max(-start, 0), min(have - start, want)))
    result[tuple(target)] = piece.pixels[tuple(source)]
    return Cut(result, moved(piece.affine, (starts[0], starts[1], 0)))


def _resampled(piece: Cut, size: Size, background: float) -> Cut:
    have = np.asarray(piece.pixels.shape, float)
    wanted = np.asarray([size.height, size.width], float)
    spacing = np.linalg.norm(piece.affine[:3, :2], axis=0)
    pixel = float((have * spacing / wanted).max())
    step = pixel / spacing  # old pixels to a new one
    start = (have - 1) / 2 - step * (wanted - 1) / 2
    # What is finer than the new pixels would turn into false patterns.
    sigma = np.clip((step - 1) / 2, 0, have)  # beyond the slice's own size all is one grey
    smooth = gaussian_filter(piece.pixels, sigma, mode="nearest")
    pixels = affine_transform(
        smooth, step, start, (size.height, size.width), order=1, cval=background
    )
    affine = moved(piece.affine, (start[0], start[1], 0))
    affine[:3, :2] *= step
    return Cut(pixels.astype(np.float32), affine)
