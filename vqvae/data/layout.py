"""The HipMRI layout: folders and file names of a data set, and its patients.

The names of its folders and files are known in this module alone.
"""

import errno
import itertools
import os
import re
import stat
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Self, get_args

from vqvae.data.nifti import inner_file, is_nifti_name
from vqvae.errors import InputError, UnavailableError

SplitName = Literal["train", "validate", "test"]
SPLITS: tuple[SplitName, ...] = get_args(SplitName)
SLICES_FOLDER = "keras_slices_data"
EXAMPLE = "case_004_week_0_slice_10.nii.gz"

_NAME = re.compile(r"(case|seg)_(\d+)_week_(\d+)_slice_(\d+)\.(?i:nii(?:\.gz)?)")


@dataclass(frozen=True, order=True)
class SliceName:
    """The identity of a slice. Names sort by their numbers, so that slice 2 comes before 10."""

    case: int
    week: int
    slice: int

    @property
    def patient(self) -> int:
        """The patient's number: a case is a patient, and its weeks are visits."""
        return self.case

    @classmethod
    def parse(cls, name: str, prefix: Literal["case", "seg"] = "case") -> Self | None:
        """Parse the file name of an image or a segmentation; None if it has another form."""
        match = _NAME.fullmatch(name)
        return cls(*map(int, match.groups()[1:])) if match and match[1] == prefix else None

    def stem(self, prefix: Literal["case", "seg"] = "case") -> str:
        """Its file name without suffix."""
        return f"{prefix}_{self.case:03}_week_{self.week}_slice_{self.slice}"


@dataclass(frozen=True, order=True)
class SliceFile:
    """A slice and its file."""

    name: SliceName
    path: Path = field(compare=False)
    relative: str = field(compare=False)
    """The path below the folder of the three splits."""
    size: int = field(compare=False)
    """In bytes."""
    mtime_ns: int = field(compare=False)
    """Time of the last change, in nanoseconds since 1970-01-01 UTC."""


@dataclass(frozen=True)
class Listing:
    """The files of one split."""

    files: tuple[SliceFile, ...]
    """Its slices, sorted by name."""
    odd: tuple[str, ...] = ()
    """One line for each NIfTI file that is no slice: its name is not one, or it is not a file."""

    @property
    def patients(self) -> tuple[int, ...]:
        """The patients' numbers, in ascending order."""
        return tuple(sorted({file.name.patient for file in self.files}))


def split_folder(base: Path, split: SplitName, *, labels: bool = False) -> Path:
    """The folder of a split's slices, or of its segmentations."""
    return base / f"keras_slices_{'seg_' if labels else ''}{split}"


_SPLIT_FOLDERS = {
    split_folder(Path(), split, labels=labels).name for split in SPLITS for labels in (False, True)
}


def data_set_of(path: Path) -> Path | None:
    """The folder of the data set that a file is in, absolute; None if it is in none."""
    for folder in reversed(path.absolute().parents):
        if folder.name in _SPLIT_FOLDERS:
            base = folder.parent
            return base.parent if base.name == SLICES_FOLDER else base
    return None


def find_base(root: Path) -> Path:
    """The folder of the three splits: `root`, `keras_slices_data` inside it, or the one above it.

    The one above is meant by a person who names the folder of one split.

    Raises:
        InputError: none has the folder of any split.
        UnavailableError: `root` does not exist.
    """
    real = Path(os.path.realpath(root))
    above = real.parent if real.name in _SPLIT_FOLDERS else root
    for base in (root, root / SLICES_FOLDER, above):
        if any(split_folder(base, split).is_dir() for split in SPLITS):
            return base
    if root.is_dir():
        raise InputError(f"data folder {root} holds no keras_slices_train; {_advice(root)}")
    if os.path.lexists(root):
        what = f"a link to {root.readlink()}" if root.is_symlink() else "a file"
        raise UnavailableError(f"data folder {root} is {what}, not a folder; {_advice(root)}")
    raise UnavailableError(f"data folder {root} does not exist; {_advice(root)}")


def list_splits(root: Path) -> Mapping[SplitName, Listing]:
    """List the files of all three splits; no file is opened.

    Raises:
        InputError: a folder has no slice, a slice occurs twice, or a patient is in two splits.
        UnavailableError: a folder is missing or cannot be read.
    """
    base = find_base(root)
    listings = {split: list_split(base, split) for split in SPLITS}
    check_apart(listings)
    return listings


def list_split(base: Path, split: SplitName) -> Listing:
    """List the files of one split.

    Args:
        base: the folder of the three splits; see `find_base`.
        split: which split.

    Raises:
        InputError: the folder has no slice, or has one twice.
        UnavailableError: the folder is missing or cannot be read.
    """
    folder = split_folder(base, split)
    if not folder.is_dir():
        raise UnavailableError(f"data folder {folder} does not exist; {_advice(base)}")
    try:
        files, odd = _scan(folder, base)
    except OSError as error:
        raise UnavailableError(f"data folder {folder} cannot be read ({error.strerror})") from error
    if not files:
        found = f"data folder {folder} holds no file named like {EXAMPLE}"
        raise InputError(
            f"{found} ({odd[0]}); correct its files" if odd else f"{found}; {_advice(base)}"
        )
    files.sort()
    _check_once(files)
    return Listing(tuple(files), tuple(sorted(odd)))


def refuse_odd_names(listing: Listing) -> None:
    """Refuse files that are not slices.

    Raises:
        InputError: there is one.
    """
    if listing.odd:
        raise InputError(
            f"{listing.odd[0]} (slices are files named like {EXAMPLE}); correct or remove it, or "
            "set data.on_bad_slice to 'skip'"
        )


def check_apart(listings: Mapping[SplitName, Listing]) -> None:
    """Check that no patient is in two splits.

    Raises:
        InputError: some are; the message names them.
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
            "move all slices of each patient into one split, so that scores are on unseen patients"
        )


def _scan(folder: Path, base: Path) -> tuple[list[SliceFile], list[str]]:
    files, odd = [], []
    with os.scandir(folder) as entries:
        for entry in entries:
            if not is_nifti_name(entry.name):
                continue
            name = SliceName.parse(entry.name)
            path = _file_of(entry)
            status = _status(path)
            if name is None:
                odd.append(f"{folder.name}/{entry.name}: not named like a slice")
            elif status is None:
                odd.append(f"{folder.name}/{entry.name}: {_not_a_file(Path(entry.path))}")
            else:
                relative = path.relative_to(base).as_posix()
                files.append(SliceFile(name, path, relative, status.st_size, status.st_mtime_ns))
    return files, sorted(odd)


def _file_of(entry: os.DirEntry[str]) -> Path:
    try:
        is_folder = entry.is_dir()
    except OSError:  # a link that leads back to itself
        is_folder = False
    return inner_file(Path(entry.path)) if is_folder else Path(entry.path)


def _not_a_file(path: Path) -> str:
    try:
        path.stat()
    except OSError as error:
        loop = error.errno == errno.ELOOP
        where = "which leads back to itself" if loop else "which does not exist"
        return f"a link to {path.readlink()}, {where}"
    return "not a file"


def _status(path: Path) -> os.stat_result | None:
    """A file's status, None if it is not a file. Asked for once: each call may use the network."""
    try:
        status = path.stat()
    except OSError as error:
        if error.errno in {errno.ENOENT, errno.ENOTDIR, errno.ELOOP}:
            return None
        raise
    return status if stat.S_ISREG(status.st_mode) else None


def _check_once(files: list[SliceFile]) -> None:
    for first, second in itertools.pairwise(files):
        if first.name == second.name:
            raise InputError(
                f"{first.path} and {second.path} are the same slice; remove one of them"
            )


def _advice(root: Path) -> str:
    if os.path.lexists(root):
        return (
            "name the folder of a data set, or make one in a new folder with 'vqvae data phantom "
            "FOLDER' or 'vqvae data import SOURCE FOLDER'"
        )
    return (
        f"write a synthetic data set with 'vqvae data phantom {root}', "
        f"or import scans with 'vqvae data import SOURCE {root}'"
    )
