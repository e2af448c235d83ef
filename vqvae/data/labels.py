"""Segmentations beside the slices: which organ a pixel belongs to."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vqvae.data.nifti import read_slice
from vqvae.errors import InputError

ORGANS = {"bone": 2, "bladder": 3, "rectum": 4, "prostate": 5}
"""HipMRI's labels; 0 is background and 1 the body."""


def read_labels(path: Path, shape: tuple[int, ...]) -> NDArray[np.uint8] | None:
    """The labels of one slice, uint8 [H, W]; None where the file cannot be read.

    The labels are stored as floating point numbers.

    Args:
        path: the segmentation's file.
        shape: rows and columns of the slice that it is of.

    Raises:
        InputError: it has another size than the slice. One that cannot be read costs its own
            figures; one of another size says that the data set is not what it seems to be.
    """
    try:
        pixels = read_slice(path).pixels
    except InputError:
        return None
    if pixels.shape != shape:
        sizes = ["x".join(map(str, sides)) for sides in (pixels.shape, shape)]
        raise InputError(
            f"{path}: a segmentation of {sizes[0]} pixels for a slice of {sizes[1]}; "
            "draw it anew, or remove it"
        )
    return np.rint(pixels).clip(0, 255).astype(np.uint8)
