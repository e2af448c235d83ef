"""The numbers in a NIfTI file, without a loss that a later step would notice.

A file stores integers of up to 64 bits, or floating-point numbers, and may give a slope and an
intercept. Most scans fit float32. Those that do not (counts beyond 2^24, intensities with a large
offset) keep the type that does.
"""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vqvae.errors import InputError

PRECISION = 2.0**-20
"""The largest error of a type that is called exact enough, as a share of the scan's range."""
BRIGHTEST = 1e30  # far enough below float32's maximum for differences and sums


def stored_values(image: Any, path: Path, *, fill_background: bool = False) -> NDArray[Any]:
    """The intensities of a nibabel image, with the header's slope and intercept applied.

    Args:
        image: the image.
        path: its file, for messages.
        fill_background: replace NaN and infinite pixels by the smallest finite intensity.

    Returns:
        Integers in the file's own type if it has neither slope nor intercept. Otherwise float32, or
        float64 if float32 would not be exact enough (see `as_floats`).

    Raises:
        InputError: the pixels are not real numbers, not finite, or beyond 1e30.
        Exception: nibabel cannot read them.
    """
    with np.errstate(all="ignore"):  # overflows are found below
        values: NDArray[Any] = np.asanyarray(image.dataobj)
    if values.dtype.kind not in "biuf":
        raise InputError(f"{path}: pixels of type {values.dtype} are not real numbers")
    values = values.astype(values.dtype.newbyteorder("="), copy=False)
    if values.dtype.kind == "f":
        values = _finite(values, path, fill_background=fill_background)
        return as_floats(values, path)
    return values


def as_floats(values: NDArray[Any], path: Path) -> NDArray[Any]:
    """The same numbers as float32, or as float64 if float32 would not be exact enough.

    A type is exact enough if it changes no number by more than a millionth of their range.

    Raises:
        InputError: float64 is not exact enough either (integers beyond 2^53).
    """
    if not values.size or values.dtype == np.float32:
        return values
    low, high = values.min().item(), values.max().item()
    for kind, digits in ((np.float32, 24), (np.float64, 53)):
        largest = max(-low, high)
        exact = values.dtype.kind in "biu" and largest <= 2**digits
        step = float(np.spacing(kind(largest)))
        if exact or step / 2 <= PRECISION * (high - low):
            return values.astype(kind)
    if values.dtype.kind == "f" or low == high:
        return values.astype(np.float64)
    raise InputError(
        f"{path}: integers around {high} differ by too little for numbers of 64 bits; subtract an "
        "offset from them"
    )


def _finite(values: NDArray[Any], path: Path, *, fill_background: bool) -> NDArray[Any]:
    finite = np.isfinite(values)
    if not finite.all():
        if not fill_background or not finite.any():
            advice = "" if fill_background else "; fill them: vqvae data import --nan background"
            raise InputError(f"{path}: some pixels are not finite numbers{advice}")
        values = np.where(finite, values, values[finite].min())
    if values.size and max(-values.min(), values.max()) > BRIGHTEST:
        raise InputError(
            f"{path}: some intensities are beyond {BRIGHTEST:g}; scale them to smaller numbers"
        )
    return values
