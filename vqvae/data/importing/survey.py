"""Reading every slice of a data set, and listing all problems."""

import os
from collections import Counter
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from vqvae.data.layout import (
    SPLITS,
    Listing,
    SliceFile,
    SplitName,
    check_apart,
    find_base,
    list_split,
)
from vqvae.data.nifti import SMALLEST_SIDE, read_slice
from vqvae.data.progress import track
from vqvae.errors import InputError

PERCENTILES = (1.0, 50.0, 99.0, 99.9, 100.0)
"""Percentiles of the intensities in a slice that a survey reports."""


@dataclass(frozen=True)
class SplitSurvey:
    """The survey of one split.

    Attributes:
        slices: the number of slices that can be read.
        volumes: the number of volumes; a volume is one week of one case.
        patients: the number of patients.
        shapes: the number of slices of each native shape.
        dtypes: the number of slices of each type on disk.
        percentiles: the `PERCENTILES` of a slice, each as the median over the slices; empty if
            there are no slices.
    """

    slices: int
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
        oddities: one line for each slice that is valid but has no content.
    """

    splits: Mapping[SplitName, SplitSurvey]
    problems: tuple[str, ...]
    oddities: tuple[str, ...]


@dataclass(frozen=True)
class _SliceSurvey:
    shape: tuple[int, ...]
    dtype: str
    percentiles: tuple[float, ...]
    oddity: str | None


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
        split: _survey_split(split, listing, problems, oddities)
        for split, listing in listings.items()
    }
    return Survey(splits, tuple(problems), tuple(oddities))


def _survey_split(
    split: SplitName, listing: Listing, problems: list[str], oddities: list[str]
) -> SplitSurvey:
    problems.extend(f"{name}: not named like a slice" for name in listing.odd)
    surveyed = []
    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        results = pool.map(_survey_slice, listing.files)
        for result in track(results, f"reading {split} slices", len(listing.files)):
            if isinstance(result, str):
                problems.append(result)
            else:
                surveyed.append(result)
                oddities.extend([result.oddity] if result.oddity else [])
    names = [file.name for file in listing.files]
    return SplitSurvey(
        slices=len(surveyed),
        volumes=len({(name.case, name.week) for name in names}),
        patients=len(listing.patients),
        shapes=Counter(one.shape for one in surveyed),
        dtypes=Counter(one.dtype for one in surveyed),
        percentiles=tuple(np.median([one.percentiles for one in surveyed], axis=0).tolist())
        if surveyed
        else (),
    )


def _survey_slice(file: SliceFile) -> _SliceSurvey | str:
    """The survey of one slice; if it cannot be read, the reason."""
    try:
        scan = read_slice(file.path, SMALLEST_SIDE)
    except InputError as error:
        return str(error)
    percentiles = np.percentile(scan.pixels, PERCENTILES).tolist()
    low, high = scan.pixels.min(), scan.pixels.max()
    return _SliceSurvey(
        shape=scan.pixels.shape,
        dtype=str(scan.header.get_data_dtype()),
        percentiles=tuple(percentiles),
        oddity=f"{file.path}: all pixels are {low:g}; it is used as a black slice"
        if low == high
        else None,
    )
