"""Painting shapes with soft edges on a slice.

A shape is an array of the signed distance of every pixel to its outline, in millimetres: negative
inside, positive outside.
"""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

Field = NDArray[np.floating[Any]]


def ellipse(x: Field, y: Field, centre: tuple[float, float], radii: tuple[float, float]) -> Field:
    """The signed distance to an ellipse with axes along x and y; exact only for a circle."""
    a, b = max(radii[0], 0.1), max(radii[1], 0.1)
    u, v = (x - centre[0]) / a, (y - centre[1]) / b
    distance: Field = (np.sqrt(u * u + v * v) - 1) * min(a, b)
    return distance


def turned(
    x: Field, y: Field, centre: tuple[float, float], radii: tuple[float, float], degrees: float
) -> Field:
    """The signed distance to an ellipse whose first axis is rotated by `degrees` from x to y."""
    cos, sin = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    u, v = x - centre[0], y - centre[1]
    return ellipse(u * cos + v * sin, v * cos - u * sin, (0, 0), radii)


def bar(
    x: Field, y: Field, start: tuple[float, float], end: tuple[float, float], radius: float
) -> Field:
    """The signed distance to a straight bar with round ends."""
    along_x, along_y = end[0] - start[0], end[1] - start[1]
    u, v = x - start[0], y - start[1]
    # The nearest point on the bar's axis, as a fraction of the way from start to end.
    nearest = np.clip((u * along_x + v * along_y) / (along_x**2 + along_y**2), 0, 1)
    distance: Field = np.hypot(u - nearest * along_x, v - nearest * along_y) - radius
    return distance


class Canvas:
    """A slice that shapes are painted on: its intensities and its labels.

    Attributes:
        image: float32 [H, W], 0 for air, about 1 for the brightest tissue.
        labels: float32 [H, W], whole numbers; see `vqvae.data.layout.ORGANS`.
    """

    def __init__(self, shape: tuple[int, int], edge: float) -> None:
        """Create an empty slice; `edge` is the width of a soft edge in millimetres."""
        self.image: Field = np.zeros(shape, np.float32)
        self.labels: Field = np.zeros(shape, np.float32)
        self._edge = edge

    def paint(self, distance: Field, value: Field | float, label: int | None = None) -> None:
        """Fill a shape with an intensity and, unless it is None, with a label."""
        cover = np.clip(0.5 - distance / self._edge, 0, 1)
        self.image += cover * (value - self.image)
        if label is not None:
            self.labels[distance < 0] = label

    def shade(self, distance: Field, factor: float, width: float) -> None:
        """Multiply the intensities by `factor` along a shape's outline, `width` mm wide."""
        cover = np.clip(0.5 - (np.abs(distance) - width / 2) / self._edge, 0, 1)
        self.image *= 1 - cover * (1 - factor)
