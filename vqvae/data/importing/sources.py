"""Finding scans in files and folders, and the volumes that they form."""

import itertools
import os
import re
from collections import Counter, defaultdict
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vqvae.data.layout import data_set_of
from vqvae.data.nifti import inner_file, is_nifti_name, read_geometry
from vqvae.data.tree import Found, find_below
from vqvae.errors import InputError, refuse_outage

_WEEK = re.compile(r"(?i)week[-_ ]?(\d+)")
_SLICE = re.compile(r"(?i)slice[-_ ]?(\d+)|(\d+)(?=\D*$)")


@dataclass(frozen=True)
class Grid:
    """The positions of a file's pixels, as its header gives them."""

    shape: tuple[int, ...]
    """Without trailing axes of length 1."""
    affine: NDArray[np.float64]
    """[4, 4], from indices to millimetres."""

    def matches(self, other: "Grid") -> bool:
        """Whether every pixel is within a tenth of a pixel's size of the other grid's pixel."""
        if self.shape != other.shape or len(self.shape) not in (2, 3):
            return False
        sides = [(0, size - 1) for size in self.shape] + [(0,)] * (3 - len(self.shape))
        corners = np.array([(*index, 1) for index in itertools.product(*sides)], float).T
        with np.errstate(all="ignore"):  # an affine that is not valid matches none
            apart = np.abs((self.affine - other.affine) @ corners).max()
            spacing = np.linalg.norm(self.affine[:3, : len(self.shape)], axis=0)
        return bool(apart <= 0.1 * spacing.min())


@dataclass(frozen=True)
class File:
    """A NIfTI file."""

    path: Path
    relative: str
    """Its path below the source that it was found in."""
    grid: Grid | None = field(default=None, compare=False)
    """Where its pixels are; None until `read_grids` has read its header."""


VolumeFiles = tuple[File, ...]
"""The files of one volume: one, or one for each slice."""


@dataclass(frozen=True)
class Sources:
    """The NIfTI files that a person gave, and what could not be read; see `vqvae.data.tree`."""

    files: tuple[File, ...]
    """Sorted by path."""
    failed: tuple[str, ...]
    """One line for each folder, link or header that cannot be read."""
    left_out: tuple[str, ...]
    """One line for each link to a folder that is read already, for scans in other formats, and for
    each data set among the scans, which an earlier import wrote."""


def find_files(sources: Sequence[Path]) -> Sources:
    """All NIfTI files in `sources` (files and folders), through links.

    Raises:
        InputError: a source is missing, or has no NIfTI file.
    """
    files: dict[Path, File] = {}
    failed: dict[str, None] = {}
    left_out: dict[str, None] = {}
    for source in sources:
        if not source.exists():
            raise InputError(f"source {source} does not exist")
        if source.is_dir() and not inner_file(source).is_file():
            found = find_below(source, is_nifti_name)
        else:
            found = Found((source,), (), ())
        if not found.files:
            reasons = (*found.failed, *found.unread)
            reason = f"; {reasons[0]}" if reasons else ""
            raise InputError(f"source {source} holds no .nii or .nii.gz file{reason}")
        base = source.parent if found.files == (source,) else source
        for path in found.files:
            files.setdefault(path.absolute(), File(path, path.relative_to(base).as_posix()))
        failed.update(dict.fromkeys(found.failed))
        left_out.update(dict.fromkeys((*found.repeated, *found.unread)))
    ordered = sorted(files.values(), key=lambda file: str(file.path))
    scans, data_sets = _without_data_sets(ordered)
    return Sources(tuple(scans), tuple(failed), (*left_out, *data_sets))


def read_grids(sources: Sources) -> Sources:
    """Read the header of every file; a file whose header cannot be read is moved to `failed`.

    Raises:
        UnavailableError: a disk or a file server fails.
    """
    files: list[File] = []
    failed = list(sources.failed)
    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        for result in pool.map(_with_grid, sources.files):
            if isinstance(result, File):
                files.append(result)
            else:
                failed.append(result)
    return replace(sources, files=tuple(files), failed=tuple(failed))


def volumes_of(files: Sequence[File]) -> list[VolumeFiles]:
    """Group one patient's files, whose grids are known, by volume.

    A 3-D file is a volume. 2-D files whose paths differ only in the slice number are one volume, in
    the order of that number.
    """
    groups: dict[str, list[File]] = defaultdict(list)
    for file in files:
        flat = file.grid is not None and len(file.grid.shape) == 2
        below = _SLICE.sub("#", file.relative, count=1) if flat else file.relative
        # Two sources may have files of the same name.
        source = str(file.path).removesuffix(file.relative)
        groups[source + below].append(file)
    return [tuple(sorted(group, key=slice_number)) for group in groups.values()]


def same_grid(first: VolumeFiles, second: VolumeFiles) -> bool:
    """Whether two volumes have the same grid, file by file."""
    return len(first) == len(second) and all(
        one.grid is not None and other.grid is not None and one.grid.matches(other.grid)
        for one, other in zip(first, second, strict=True)
    )


def slice_number(file: File) -> int:
    """The number after `slice` in a file's path, else the last number in it; 0 if it has none."""
    match = _SLICE.search(file.relative)
    return int(match[match.lastindex or 0]) if match else 0


def week_of(file: File) -> int | None:
    """The number after `week` in a file's path; None if there is none."""
    match = _WEEK.search(file.relative)
    return int(match.group(1)) if match else None


def _without_data_sets(files: list[File]) -> tuple[list[File], list[str]]:
    """Leave out slices in the HipMRI layout, unless all files are such slices.

    People import into a folder beside the scans. A second import would find the slices of the first
    one, and a scan and its slices could be in two splits.
    """
    slices: dict[Path, int] = Counter()
    scans = []
    for file in files:
        base = data_set_of(file.path)
        if base is None:
            scans.append(file)
        else:
            slices[base] += 1
    if not scans:
        return files, []
    return scans, [
        f"{base}: a data set that was imported before ({count} files); to import it, name it alone"
        for base, count in slices.items()
    ]


def _with_grid(file: File) -> File | str:
    """The file with its grid; if its header cannot be read, the reason."""
    try:
        shape, affine = read_geometry(file.path)
    except InputError as error:
        refuse_outage(error)
        return str(error)
    return replace(file, grid=Grid(shape, affine))
