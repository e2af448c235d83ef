"""Segmentations of slices: their files, their labels, and what these mean."""

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vqvae.data.layout import Listing, SliceFile, SliceName, SplitName, split_folder
from vqvae.data.nifti import inner_file, read_geometry, read_slice
from vqvae.errors import InputError, UnavailableError

ORGANS = {"bone": 2, "bladder": 3, "rectum": 4, "prostate": 5}
"""HipMRI's labels of organs in a segmentation; 0 is the background, 1 the rest of the body."""
LARGEST_LABEL = 255


def list_labels(base: Path, split: SplitName) -> dict[SliceName, Path]:
    """The segmentation files of one split, by slice; empty if there is no such folder.

    Raises:
        UnavailableError: the folder cannot be read.
    """
    folder = split_folder(base, split, labels=True)
    try:
        entries = sorted(folder.iterdir()) if folder.is_dir() else []
    except OSError as error:
        raise UnavailableError(f"data folder {folder} cannot be read ({error.strerror})") from error
    named = [(SliceName.parse(path.name, "seg"), inner_file(path)) for path in entries]
    return {name: path for name, path in named if name is not None}


def read_labels(path: Path, shape: tuple[int, ...]) -> NDArray[np.uint8] | None:
    """The labels of one slice, uint8 [H, W]; None if the file cannot be read.

    The file stores them as floating-point numbers.

    Args:
        path: the file of the segmentation.
        shape: rows and columns of the slice.

    Raises:
        InputError: the segmentation has another size than the slice. A file that cannot be read
            only costs its own scores; another size means that images and segmentations do not
            belong together.
    """
    try:
        pixels = read_slice(path).pixels
    except InputError:
        return None
    check_label_size(path, pixels.shape, shape)
    labels: NDArray[np.uint8] = np.rint(pixels).clip(0, 255).astype(np.uint8)
    return labels


def check_label_sizes(base: Path, split: SplitName, listing: Listing) -> None:
    """Check that every segmentation of a split has the size of its slice; only headers are read.

    Raises:
        InputError: one has not. A file that cannot be read is left to those who read it.
        UnavailableError: the folder of the segmentations cannot be read.
    """
    labels = list_labels(base, split)
    pairs = [(file, labels[file.name]) for file in listing.files if file.name in labels]
    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        for file, (expected, size) in zip(pairs, pool.map(_sizes, pairs), strict=True):
            if expected is not None and size is not None:
                check_label_size(file[1], size, expected)


def check_label_size(path: Path, size: tuple[int, ...], expected: tuple[int, ...]) -> None:
    """Check that a segmentation has the size of its slice.

    Raises:
        InputError: it has not.
    """
    if size != expected:
        sizes = ["x".join(map(str, sides)) for sides in (size, expected)]
        raise InputError(
            f"{path}: a segmentation of {sizes[0]} pixels for a slice of {sizes[1]}; "
            "replace it with one of the slice's size, or remove it"
        )


def _sizes(pair: tuple[SliceFile, Path]) -> tuple[tuple[int, ...] | None, tuple[int, ...] | None]:
    """The shapes in the headers of a slice and of its segmentation; None if one is not readable."""
    image, labels = pair
    return _size(image.path), _size(labels)


def _size(path: Path) -> tuple[int, ...] | None:
    try:
        return read_geometry(path)[0]
    except InputError:
        return None


def relabelling(text: str) -> NDArray[np.uint8]:
    """The new label of each label, uint8 [256], from text such as `1=prostate,2=0`.

    Labels that are not named stay as they are.

    Raises:
        InputError: the text has another form, or a label is not one from 0 to 255.
    """
    table = np.arange(LARGEST_LABEL + 1, dtype=np.uint8)
    for part in text.split(","):
        old, _, new = (side.strip() for side in part.partition("="))
        new = str(ORGANS.get(new, new))
        valid = all(side.isdecimal() and int(side) <= LARGEST_LABEL for side in (old, new))
        if not valid:
            raise InputError(
                f"--relabel {text!r}: write OLD=NEW, separated by commas, as in 1=prostate,2=0; "
                f"the labels are 0 to {LARGEST_LABEL}, and the names are {', '.join(ORGANS)}"
            )
        table[int(old)] = int(new)
    return table
