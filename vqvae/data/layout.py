"""The HipMRI layout: folders and names of a data set, whose each slice is, and what labels mean.

Every path inside a data set is made here.
"""

import itertools
import os
import re
import stat
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Self, get_args

import numpy as np
from numpy.typing import NDArray

from vqvae.data.nifti import inner_file, is_nifti_name, read_slice
from vqvae.errors import InputError, UnavailableError

SplitName = Literal["train", "validate", "test"]
SPLITS: tuple[SplitName, ...] = get_args(SplitName)
SLICES_FOLDER = "keras_slices_data"
EXAMPLE = "case_004_week_0_slice_10.nii.gz"
ORGANS = {"bone": 2, "bladder": 3, "rectum": 4, "prostate": 5}
"""HipMRI's labels; 0 is background and 1 the body."""

_NAME = re.compile(r"(case|seg)_(\d+)_week_(\d+)_slice_(\d+)\.nii(?:\.gz)?")


@dataclass(frozen=True, order=True)
class SliceName:
    """Which slice: ordered by its integers, so that slice 2 comes before slice 10."""

    case: int
    week: int
    slice: int

    @property
    def patient(self) -> int:
        """A case is a patient; its weeks are visits of that one patient."""
        return self.case

    @classmethod
    def parse(cls, name: str, prefix: Literal["case", "seg"] = "case") -> Self | None:
        """Read an image's file name, or a segmentation's; None if it has another form."""
        match = _NAME.fullmatch(name)
        return cls(*map(int, match.groups()[1:])) if match and match[1] == prefix else None

    def stem(self, prefix: Literal["case", "seg"] = "case") -> str:
        """The name of its file without a suffix."""
        return f"{prefix}_{self.case:03}_week_{self.week}_slice_{self.slice}"


@dataclass(frozen=True, order=True)
class SliceFile:
    """A slice and its file; `relative` is the path below the folder of the three splits."""

    name: SliceName
    path: Path = field(compare=False)
    relative: str = field(compare=False)
    size: int = field(compare=False)
    mtime_ns: int = field(compare=False)


@dataclass(frozen=True)
class Listing:
    """One split's folder: its slices in order, and NIfTI files whose name says no slice."""

    files: tuple[SliceFile, ...]
    odd: tuple[str, ...] = ()

    @property
    def patients(self) -> tuple[int, ...]:
        """In ascending order."""
        return tuple(sorted({file.name.patient for file in self.files}))


def split_folder(base: Path, split: SplitName, *, labels: bool = False) -> Path:
    """The folder of one split's slices, or of its segmentations."""
    return base / f"keras_slices_{'seg_' if labels else ''}{split}"


def find_base(root: Path) -> Path:
    """The folder that holds the three splits: `root`, or `keras_slices_data` inside it.

    Raises:
        InputError: neither holds any of them.
    """
    for base in (root, root / SLICES_FOLDER):
        if any(split_folder(base, split).is_dir() for split in SPLITS):
            return base
    if root.is_dir():
        raise InputError(f"data folder {root} holds no keras_slices_train; {_advice(root)}")
    raise UnavailableError(f"data folder {root} does not exist; {_advice(root)}")


def list_splits(root: Path) -> Mapping[SplitName, Listing]:
    """List all three splits, by name and size alone.

    Raises:
        InputError: a folder is missing or empty, a slice is there twice, or a patient in two.
    """
    base = find_base(root)
    listings = {split: list_split(base, split) for split in SPLITS}
    check_apart(listings)
    return listings


def list_split(base: Path, split: SplitName) -> Listing:
    """List one split below the folder that holds the three.

    Raises:
        InputError: the folder is missing or cannot be read, holds no slice, or holds one twice.
    """
    folder = split_folder(base, split)
    if not folder.is_dir():
        raise UnavailableError(f"data folder {folder} does not exist; {_advice(base)}")
    try:
        files, odd = _scan(folder, base)
    except OSError as error:
        raise UnavailableError(f"data folder {folder} cannot be read ({error.strerror})") from error
    if not files:
        raise InputError(
            f"data folder {folder} holds no file named like {EXAMPLE}; {_advice(base)}"
        )
    files.sort()
    _check_once(files)
    return Listing(tuple(files), tuple(sorted(odd)))


def list_labels(base: Path, split: SplitName) -> dict[SliceName, Path]:
    """The segmentations of one split, by the slice that each is of; none if there is no folder.

    Raises:
        InputError: the folder cannot be read.
    """
    folder = split_folder(base, split, labels=True)
    try:
        entries = sorted(folder.iterdir()) if folder.is_dir() else []
    except OSError as error:
        raise UnavailableError(f"data folder {folder} cannot be read ({error.strerror})") from error
    named = [(SliceName.parse(path.name, "seg"), inner_file(path)) for path in entries]
    return {name: path for name, path in named if name is not None}


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


def check_apart(listings: Mapping[SplitName, Listing]) -> None:
    """Refuse patients that are in two splits.

    Raises:
        InputError: names them.
    """
    owner: dict[int, SplitName] = {}
    shared: list[str] = []
    for split, listing in listings.items():
        for patient in listing.patients:
            first = owner.setdefault(patient, split)
            if first != split:
                shared.append(f"{patient:03} ({first} and {split})")
    if shared:
        raise InputError(
            f"patients in two splits: {', '.join(shared)}; "
            "move all slices of a patient into one, or scores on unseen patients mean nothing"
        )


def _scan(folder: Path, base: Path) -> tuple[list[SliceFile], list[str]]:
    files, odd = [], []
    with os.scandir(folder) as entries:
        for entry in entries:
            if not is_nifti_name(entry.name):
                continue
            name = SliceName.parse(entry.name)
            path = inner_file(Path(entry.path)) if entry.is_dir() else Path(entry.path)
            status = _status(path)
            if name is None or status is None:
                odd.append(f"{folder.name}/{entry.name}")
            else:
                relative = path.relative_to(base).as_posix()
                files.append(SliceFile(name, path, relative, status.st_size, status.st_mtime_ns))
    return files, odd


def _status(path: Path) -> os.stat_result | None:
    """A file's status, asked for once: each question goes over the network. None if it is none."""
    try:
        status = path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    return status if stat.S_ISREG(status.st_mode) else None


def _check_once(files: list[SliceFile]) -> None:
    for first, second in itertools.pairwise(files):
        if first.name == second.name:
            raise InputError(
                f"{first.path} and {second.path} are the same slice; remove one of them"
            )


def _advice(root: Path) -> str:
    return (
        f"write a synthetic set with 'vqvae data phantom {root}', "
        f"or bring scans in with 'vqvae data import SOURCE {root}'"
    )
