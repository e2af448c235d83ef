"""Scaling the intensities of a slice to [0, 1], and back.

MR intensities have no unit, and the maximum of a slice depends on a few bright pixels (a vessel, a
hot spot of a coil). So every slice is scaled by itself: its minimum becomes 0, its 99.9th
percentile becomes 1, and the brightest thousandth is clipped. The scaled slice does not depend on
its split or on any other slice.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

UPPER_PERCENTILE = 99.9


@dataclass(frozen=True)
class Window:
    """The intensities that are scaled to 0 and 1."""

    low: float
    """In the slice's own intensities; becomes 0."""
    high: float
    """In the slice's own intensities; becomes 1."""


def window_of(pixels: NDArray[Any]) -> Window:
    """The window of one slice of any shape: its minimum and its 99.9th percentile.

    If that percentile equals the minimum, `high` is the maximum: otherwise a small bright object
    on an empty slice would be lost.
    """
    low = float(pixels.min())
    high = float(np.percentile(pixels, UPPER_PERCENTILE))
    return Window(low, high if high > low else float(pixels.max()))


def scale(pixels: NDArray[Any]) -> tuple[NDArray[np.float32], Window]:
    """Scale one slice by its own window.

    Args:
        pixels: [H, W], finite, in the file's intensities.

    Returns:
        The scaled slice, float32 [H, W] in [0, 1] (all 0 for a constant slice), and the window.
    """
    window = window_of(pixels)
    width = window.high - window.low
    if width <= 0:
        return np.zeros(pixels.shape, np.float32), window
    # In float64 only where the pixels need it: for others the result would be the same.
    kind = np.dtype(np.float64 if pixels.dtype == np.float64 else np.float32)
    low, span = np.array([window.low, width], kind)
    scaled = (pixels.astype(kind) - low) / span
    return np.clip(scaled, 0, 1).astype(np.float32), window


def restore(scaled: NDArray[Any], window: Window, dtype: DTypeLike = np.float32) -> NDArray[Any]:
    """Undo `scale`, except for the pixels that it clipped.

    Args:
        scaled: any shape, in [0, 1].
        window: the window that `scale` returned.
        dtype: float32, or float64 for a scan whose pixels are of that type.

    Returns:
        The type `dtype` and the same shape, in the file's intensities.
    """
    low, span = np.array([window.low, window.high - window.low], dtype)
    restored: NDArray[Any] = np.asarray(scaled, dtype) * span + low
    return restored
