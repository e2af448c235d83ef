"""Finding files in a tree of folders, through symbolic links; what cannot be read is named.

Data managers (DataLad, git-annex) and scratch disks keep patients as links to folders, and scans as
links to files. So links are followed. Each folder is read once, whatever leads to it, so that a
link to a folder above it is no endless loop. Hidden files and folders are not read: they belong to
a program (`.git`), not to the person.
"""

import os
import re
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from vqvae.text import count

_OTHER_FORMATS = (
    *(".hdr", ".img", ".mgz", ".mgh", ".dcm", ".nrrd", ".mha", ".mhd", ".mnc"),
    *(".nii.bz2", ".nii.zst", ".nii.zip"),
)
_FILE_SUFFIX = re.compile(r"\.[A-Za-z][A-Za-z0-9]*$")


@dataclass(frozen=True)
class Found:
    """The files below a folder."""

    files: tuple[Path, ...]
    """Sorted by path. A folder `X.nii` that contains a file `X.nii` counts as that file."""
    failed: tuple[str, ...]
    """One line for each folder that cannot be read, and for each link to nothing, with its path."""
    repeated: tuple[str, ...]
    """One line for each link to a folder that was read already under another path."""
    unread: tuple[str, ...] = ()
    """One line for each folder with scans in formats that are not read, for each format."""


def find_below(folder: Path, matches: Callable[[str], bool]) -> Found:
    """Find the files in a tree of folders.

    Args:
        folder: the folder at the top.
        matches: whether a file name is one of those wanted.
    """
    walk = _Walk(matches)
    walk.read(folder)
    unread = [
        f"{folder}: {count(number, f'{suffix} file')} not read; convert to .nii.gz what is a scan"
        for (folder, suffix), number in sorted(walk.unread.items())
    ]
    return Found(tuple(sorted(walk.files)), tuple(walk.failed), tuple(walk.repeated), tuple(unread))


@dataclass
class _Walk:
    matches: Callable[[str], bool]
    files: list[Path] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    repeated: list[str] = field(default_factory=list)
    unread: Counter[tuple[Path, str]] = field(default_factory=Counter)
    """How many files of each other format each folder has."""
    _links: list[Path] = field(default_factory=list)
    """Links to folders. They are followed last: a folder keeps its own path, if it has one here."""
    _seen: dict[tuple[int, int], Path] = field(default_factory=dict)
    """The path under which each folder was read, by device and inode."""

    def read(self, top: Path) -> None:
        self._links.append(top)
        while self._links:
            self._links.sort()
            folders = [self._links.pop(0)]
            while folders:
                folders += self._read_folder(folders.pop())

    def _read_folder(self, folder: Path) -> list[Path]:
        """Read one folder; return the folders in it that are no links."""
        try:
            status = folder.stat()
            first = self._seen.setdefault((status.st_dev, status.st_ino), folder)
            if first is not folder:
                self.repeated.append(f"{folder}: leads to {first}, which is read already")
                return []
            entries = sorted(_visible(folder), key=lambda entry: entry.name)
            return [Path(entry.path) for entry in entries if self._sort_out(entry)]
        except OSError as error:
            self.failed.append(f"{folder}: the folder cannot be read ({error.strerror or error})")
            return []

    def _sort_out(self, entry: os.DirEntry[str]) -> bool:
        """Keep a file or a link for later; return whether it is a folder that is no link."""
        path = Path(entry.path)
        if entry.is_symlink() and not self._leads_somewhere(path):
            return False
        wanted = self.matches(entry.name)
        if not entry.is_dir():
            self.files += [path] if wanted else []
            self.unread.update((path.parent, end) for end in _other_format(entry.name))
            return False
        if wanted and (path / entry.name).is_file():
            self.files.append(path)
            return False
        if entry.is_symlink():
            self._links.append(path)
        return not entry.is_symlink()

    def _leads_somewhere(self, link: Path) -> bool:
        """Whether a link can be followed; it is named if not, unless its name is another file's."""
        try:
            link.stat()
        except OSError as error:
            target = link.readlink()
            dead = isinstance(error, FileNotFoundError)
            reason = "which does not exist" if dead else f"which cannot be read ({error.strerror})"
            if any(self.matches(name) for name in (link.name, target.name)) or not any(
                _FILE_SUFFIX.search(name) for name in (link.name, target.name)
            ):
                self.failed.append(f"{link}: a link to {target}, {reason}")
            return False
        return True


def _other_format(name: str) -> list[str]:
    """The suffix of a scan in a format that is not read, in a list; empty for other files."""
    return [suffix for suffix in _OTHER_FORMATS if name.lower().endswith(suffix)]


def _visible(folder: Path) -> Iterator[os.DirEntry[str]]:
    with os.scandir(folder) as entries:
        yield from (entry for entry in entries if not entry.name.startswith("."))
