"""How a slice's intensities become numbers between 0 and 1, and back.

MR intensities have no unit, and each slice's maximum is decided by a few bright pixels (a vessel,
a coil's hot spot). So every slice is scaled by itself: its minimum becomes 0, its 99.9th percentile
becomes 1, and the thousandth above is clipped. No other slice is looked at, so a slice
has one scaled form whichever split it is in and whatever else was loaded.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

UPPER_PERCENTILE = 99.9


@dataclass(frozen=True)
class Window:
    """The intensities that became 0 and 1."""

    low: float
    high: float


def window_of(pixels: NDArray[Any]) -> Window:
    """The window of one slice of any shape, in the slice's own intensities.

    Where no more than a thousandth of the pixels differ from the minimum, `high` is the maximum:
    else a small bright thing on an empty slice would be lost.
    """
    low = float(pixels.min())
    high = float(np.percentile(pixels, UPPER_PERCENTILE))
    return Window(low, high if high > low else float(pixels.max()))


def scale(pixels: NDArray[Any]) -> tuple[NDArray[np.float32], Window]:
    """Scale one slice by its own window.

    Args:
        pixels: [H, W], finite, in the file's intensities.

    Returns:
        float32 [H, W] in [0, 1], zero throughout for a constant slice; and the window.
    """
    window = window_of(pixels)
    width = window.high - window.low
    if width <= 0:
        return np.zeros(pixels.shape, np.float32), window
    scaled = (pixels.astype(np.float32) - np.float32(window.low)) / np.float32(width)
    return np.clip(scaled, 0, 1), window


def restore(scaled: NDArray[Any], window: Window) -> NDArray[np.float32]:
    """Undo `scale`, but for what it clipped.

    Args:
        scaled: any shape, in [0, 1].
        window: what `scale` returned.

    Returns:
        float32 of the same shape, in the file's intensities.
    """
    width = np.float32(window.high - window.low)
    return np.asarray(scaled, np.float32) * width + np.float32(window.low)
