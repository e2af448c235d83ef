"""Reading every slice of a data set, and listing all problems."""

import os
from collections import Counter
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from vqvae.data.layout import (
    SPLITS,
    Listing,
    SliceFile,
    SliceName,
    SplitName,
    check_apart,
    find_base,
    list_split,
)
from vqvae.data.nifti import SMALLEST_SIDE, read_slice
from vqvae.data.progress import track
from vqvae.data.segmentations import LARGEST_LABEL, check_label_size, list_labels
from vqvae.errors import InputError

PERCENTILES = (1.0, 50.0, 99.0, 99.9, 100.0)
"""Percentiles of the intensities in a slice that a survey reports."""


@dataclass(frozen=True)
class SplitSurvey:
    """The survey of one split.

    Attributes:
        slices: the number of slices that can be read.
        segmented: the number of slices that have a segmentation.
        volumes: the number of volumes; a volume is one week of one case.
        patients: the number of patients.
        shapes: the number of slices of each native shape.
        dtypes: the number of slices of each type on disk.
        percentiles: the `PERCENTILES` of a slice, each as the median over the slices; empty if
            there are no slices.
    """

    slices: int
    segmented: int
    volumes: int
    patients: int
    shapes: Mapping[tuple[int, ...], int]
    dtypes: Mapping[str, int]
    percentiles: tuple[float, ...]


@dataclass(frozen=True)
class Survey:
    """The survey of a data set.

    Attributes:
        splits: the splits that exist.
        problems: one line for each problem.
        oddities: one line for each file that is valid but not as usual, such as a blank slice.
    """

    splits: Mapping[SplitName, SplitSurvey]
    problems: tuple[str, ...]
    oddities: tuple[str, ...]


@dataclass(frozen=True)
class _SliceSurvey:
    shape: tuple[int, ...]
    dtype: str
    percentiles: tuple[float, ...]
    problems: tuple[str, ...]
    oddities: tuple[str, ...]


def survey(root: Path) -> Survey:
    """Read all slices of the data set at `root`.

    Raises:
        InputError: there is no data set at `root`.
    """
    base = find_base(root)
    listings: dict[SplitName, Listing] = {}
    problems: list[str] = []
    for split in SPLITS:
        try:
            listings[split] = list_split(base, split)
        except InputError as error:
            problems.append(str(error))
    try:
        check_apart(listings)
    except InputError as error:
        problems.append(str(error))
    oddities: list[str] = []
    splits = {
        split: _survey_split(base, split, listing, problems, oddities)
        for split, listing in listings.items()
    }
    return Survey(splits, tuple(problems), tuple(oddities))


def _survey_split(
    base: Path, split: SplitName, listing: Listing, problems: list[str], oddities: list[str]
) -> SplitSurvey:
    problems.extend(listing.odd)
    surveyed = []
    labels = list_labels(base, split)
    oddities.extend(_unpaired(split, listing, labels))
    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        results = pool.map(lambda file: _survey_slice(file, labels.get(file.name)), listing.files)
        for result in track(results, f"reading {split} slices", len(listing.files)):
            if isinstance(result, str):
                problems.append(result)
            else:
                surveyed.append(result)
                problems.extend(result.problems)
                oddities.extend(result.oddities)
    names = [file.name for file in listing.files]
    return SplitSurvey(
        slices=len(surveyed),
        segmented=len(labels.keys() & {file.name for file in listing.files}),
        volumes=len({(name.case, name.week) for name in names}),
        patients=len(listing.patients),
        shapes=Counter(one.shape for one in surveyed),
        dtypes=Counter(one.dtype for one in surveyed),
        percentiles=tuple(np.median([one.percentiles for one in surveyed], axis=0).tolist())
        if surveyed
        else (),
    )


def _unpaired(
    split: SplitName, listing: Listing, labels: Mapping[SliceName, Path]
) -> Iterator[str]:
    """Lines about segmentations without a slice, and slices without one where others have one."""
    names = {file.name for file in listing.files}
    for name in sorted(labels.keys() - names):
        yield f"{labels[name]}: a segmentation without a slice; it is not used"
    missing = len(names - labels.keys())
    if labels and missing:
        slices = f"{missing} slice{' has' if missing == 1 else 's have'}"
        yield f"{split}: {slices} no segmentation; these get no scores of organs"


def _survey_slice(file: SliceFile, labels: Path | None) -> _SliceSurvey | str:
    """The survey of one slice and its segmentation; if the slice cannot be read, the reason."""
    try:
        scan = read_slice(file.path, SMALLEST_SIDE)
    except InputError as error:
        return str(error)
    percentiles = np.percentile(scan.pixels, PERCENTILES).tolist()
    low, high = scan.pixels.min(), scan.pixels.max()
    blank = f"{file.path}: all pixels are {low:g}; it is used as a black slice"
    problems, oddities = _survey_labels(labels, scan.pixels.shape)
    return _SliceSurvey(
        shape=scan.pixels.shape,
        dtype=str(scan.header.get_data_dtype()),
        percentiles=tuple(percentiles),
        problems=tuple(problems),
        oddities=((blank,) if low == high else ()) + tuple(oddities),
    )


def _survey_labels(path: Path | None, shape: tuple[int, ...]) -> tuple[list[str], list[str]]:
    """Problems and oddities of the segmentation of a slice of that shape."""
    if path is None:
        return [], []
    try:
        pixels = read_slice(path).pixels
        check_label_size(path, pixels.shape, shape)
    except InputError as error:
        return [str(error)], []
    if (pixels % 1 != 0).any() or pixels.min() < 0 or pixels.max() > LARGEST_LABEL:
        return [], [f"{path}: some labels are not whole numbers from 0 to 255; they are rounded"]
    return [], []
