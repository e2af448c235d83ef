"""Looking at every slice of a data set, and naming what is wrong."""

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


@dataclass(frozen=True)
class SplitSurvey:
    """One split.

    Attributes:
        slices: how many can be read.
        volumes: a week of a case is one.
        patients: how many.
        shapes: slices of each native shape.
        dtypes: slices of each type on disk.
        percentiles: of the intensities in a slice, the median over the slices, in the order of
            `PERCENTILES`; empty without slices.
    """

    slices: int
    volumes: int
    patients: int
    shapes: Mapping[tuple[int, ...], int]
    dtypes: Mapping[str, int]
    percentiles: tuple[float, ...]


@dataclass(frozen=True)
class Survey:
    """A data set.

    Attributes:
        splits: those that are there.
        problems: a line for each thing that is wrong.
        oddities: a line for each slice that can be trained on, but hardly says anything.
    """

    splits: Mapping[SplitName, SplitSurvey]
    problems: tuple[str, ...]
    oddities: tuple[str, ...]


@dataclass(frozen=True)
class _Look:
    shape: tuple[int, ...]
    dtype: str
    percentiles: tuple[float, ...]
    oddity: str | None


def survey(root: Path) -> Survey:
    """Read all slices.

    Raises:
        InputError: no data set is there at all.
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
    looks = []
    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        results = pool.map(_look, listing.files)
        for result in track(results, f"reading {split} slices", len(listing.files)):
            if isinstance(result, str):
                problems.append(result)
            else:
                looks.append(result)
                oddities.extend([result.oddity] if result.oddity else [])
    names = [file.name for file in listing.files]
    return SplitSurvey(
        slices=len(looks),
        volumes=len({(name.case, name.week) for name in names}),
        patients=len(listing.patients),
        shapes=Counter(look.shape for look in looks),
        dtypes=Counter(look.dtype for look in looks),
        percentiles=tuple(np.median([look.percentiles for look in looks], axis=0).tolist())
        if looks
        else (),
    )


def _look(file: SliceFile) -> _Look | str:
    try:
        scan = read_slice(file.path, SMALLEST_SIDE)
    except InputError as error:
        return str(error)
    percentiles = np.percentile(scan.pixels, PERCENTILES).tolist()
    low, high = scan.pixels.min(), scan.pixels.max()
    return _Look(
        shape=scan.pixels.shape,
        dtype=str(scan.header.get_data_dtype()),
        percentiles=tuple(percentiles),
        oddity=f"{file.path}: all pixels are {low:g}; trained on as black" if low == high else None,
    )
