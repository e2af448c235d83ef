"""Opening the splits of a data set, and listing its content without reading it."""

import hashlib
import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vqvae.config import DataConfig
from vqvae.data.cache import INDEX, cache_folder, decoded_split
from vqvae.data.layout import Listing, SliceName, SplitName, list_splits
from vqvae.data.staging import staged
from vqvae.errors import InputError
from vqvae.text import count

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Group:
    """The slices of one native shape.

    Attributes:
        images: uint16 [N, H, W], mapped from disk; value / 65535 is the scaled intensity.
        names: the names of the slices, sorted.
    """

    images: NDArray[np.uint16]
    names: tuple[SliceName, ...]


@dataclass(frozen=True)
class Split:
    """One split, decoded.

    Attributes:
        name: train, validate or test.
        groups: one for each native shape, sorted by shape.
        skipped: one line for each slice that was left out: its name and the reason.
    """

    name: SplitName
    groups: tuple[Group, ...]
    skipped: tuple[str, ...]

    def __len__(self) -> int:
        return sum(len(group.names) for group in self.groups)


@dataclass(frozen=True)
class Inventory:
    """The content of a data set, by file names and sizes.

    Attributes:
        slices: the number of slices, by split.
        patients: the patients' numbers in ascending order, by split.
        fingerprint: of names and sizes; see `fingerprint_of`.
    """

    slices: Mapping[SplitName, int]
    patients: Mapping[SplitName, tuple[int, ...]]
    fingerprint: str


def open_split(
    config: DataConfig,
    name: SplitName,
    listings: Mapping[SplitName, Listing] | None = None,
    scratch: Path | None = None,
) -> Split:
    """Open a split; it is decoded into the cache first if it is not there yet.

    Args:
        config: where the data are.
        name: which split.
        listings: the result of `list_splits`, if the caller has it already: listing a folder with
            many files on a network is slow.
        scratch: a folder on a disk of this host, where a copy of the decoded slices may be kept;
            see `vqvae.data.staging`.

    Raises:
        InputError: a folder has no slice, a patient is in two splits, a slice cannot be read (and
            `on_bad_slice` is `stop`), or no slice can.
        UnavailableError: a folder is missing, or data or cache are unavailable now.
    """
    listing = (listings or list_splits(config.root))[name]
    folder = cache_folder(config.cache)
    entry = decoded_split(listing, name, config.root, folder, skip=config.on_bad_slice == "skip")
    split = _load_quickest(entry, name, scratch)
    if split.skipped:
        slices = count(len(split.skipped), "slice")
        log.warning("%s: %s left out: %s", name, slices, "; ".join(split.skipped))
    if not len(split):
        raise InputError(
            f"data folder {config.root}: no slice of {name} can be read; see "
            f"'vqvae data check {config.root}'"
        )
    return split


def inspect(config: DataConfig) -> Inventory:
    """Count the slices and patients of a data set; no file is opened.

    Raises:
        InputError: a folder has no slice, or a patient is in two splits.
        UnavailableError: a folder is missing or cannot be read.
    """
    listings = list_splits(config.root)
    return Inventory(
        slices={split: len(listing.files) for split, listing in listings.items()},
        patients={split: listing.patients for split, listing in listings.items()},
        fingerprint=fingerprint_of(listings),
    )


def fingerprint_of(listings: Mapping[SplitName, Listing]) -> str:
    """Hex SHA-256 of relative file names and sizes; a copy in another folder has the same one."""
    lines = sorted(
        f"{file.relative}\t{file.size}\n" for listing in listings.values() for file in listing.files
    )
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def _load_quickest(entry: Path, name: SplitName, scratch: Path | None) -> Split:
    copy = entry if scratch is None else staged(entry, scratch)
    try:
        return _load(copy, name)
    except (OSError, ValueError, LookupError) as error:  # the copy was removed meanwhile, say
        if copy == entry:
            raise
        log.warning("%s cannot be read (%s); reading %s", copy, error, entry)
        return _load(entry, name)


def _load(entry: Path, name: SplitName) -> Split:
    index = json.loads((entry / INDEX).read_text(encoding="utf-8"))
    groups = tuple(
        Group(
            images=np.load(entry / group["file"], mmap_mode="r", allow_pickle=False),
            names=tuple(SliceName(*numbers) for numbers in group["names"]),
        )
        for group in index["groups"]
    )
    return Split(name, groups, tuple(index["skipped"]))
