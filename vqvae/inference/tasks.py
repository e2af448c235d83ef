"""Which files a command reads, and where it writes what becomes of each."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from vqvae.data.nifti import SUFFIXES, is_nifti_name
from vqvae.errors import InputError
from vqvae.inference.vqc_format import SUFFIX

_Task = TypeVar("_Task")
_Done = TypeVar("_Done")


@dataclass(frozen=True)
class FileKind:
    """A kind of file that a command reads."""

    what: str
    suffixes: tuple[str, ...]

    def matches(self, name: str) -> bool:
        """Whether a file of this name should be of this kind; hidden files should not."""
        return name.endswith(self.suffixes) and not name.startswith(".")


SCANS = FileKind("a scan", SUFFIXES)
CODED = FileKind("a coded scan", (SUFFIX,))


@dataclass(frozen=True)
class Task:
    """A file to read, and the one to write."""

    source: Path
    target: Path


@dataclass(frozen=True)
class Failed:
    """A file that nothing could be made of, and why: a line that names it."""

    reason: str


def plan_tasks(
    inputs: Iterable[Path], out: Path, kind: FileKind, renamed: Callable[[str], str]
) -> list[Task]:
    """What to read and where to write: a file goes into `out`, a folder's tree below it.

    Args:
        inputs: files and folders.
        out: the folder to write into.
        kind: what is read.
        renamed: a source's name to its target's.

    Raises:
        InputError: an input is not there or not of its kind, a folder holds none, two inputs would
            be written to one file, or an input would be overwritten.
    """
    found = [task for given in inputs for task in _tasks(given, out, kind, renamed)]
    taken: dict[Path, Path] = {}
    for task in found:
        if task.target.resolve() == task.source.resolve():
            raise InputError(f"{task.source}: --out {out} would overwrite it")
        other = taken.setdefault(task.target, task.source)
        if other is not task.source:
            raise InputError(f"{task.source} and {other} would both be written to {task.target}")
    return found


def run_each(tasks: Iterable[_Task], work: Callable[[_Task], _Done]) -> Iterator[_Done | Failed]:
    """Do one task after another; one whose file is wrong keeps no other from being done."""
    for task in tasks:
        try:
            yield work(task)
        except InputError as error:
            yield Failed(str(error))


def _tasks(given: Path, out: Path, kind: FileKind, renamed: Callable[[str], str]) -> list[Task]:
    # Some unzippers leave a folder X.nii that holds X.nii: that is one scan, not a folder of them.
    if kind.matches(given.name) and given.exists():
        return [Task(given, out / renamed(given.name))]
    suffixes = " or ".join(kind.suffixes)
    if given.is_file():
        raise InputError(f"{given}: not {kind.what}; its name should end in {suffixes}")
    if not given.is_dir():
        raise InputError(f"{given}: no such file or folder")
    found = sorted(path for path in given.rglob("*") if _is_input(path, kind))
    if given.resolve() in out.resolve().parents:
        # What an earlier command left there is not to be taken for input.
        found = [path for path in found if out.resolve() not in path.resolve().parents]
    if not found:
        raise InputError(f"{given}: no file in it ends in {suffixes}")
    below = [path.relative_to(given) for path in found]
    return [
        Task(path, out / name.with_name(renamed(name.name)))
        for path, name in zip(found, below, strict=True)
    ]


def _is_input(path: Path, kind: FileKind) -> bool:
    return kind.matches(path.name) and not is_nifti_name(path.parent.name)
