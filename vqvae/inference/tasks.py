"""Which files a command reads, and which file it writes for each."""

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
    """Its name in messages, with an article."""
    suffixes: tuple[str, ...]

    def matches(self, name: str) -> bool:
        """Whether a file name is one of this kind; hidden files are not."""
        return name.endswith(self.suffixes) and not name.startswith(".")


SCANS = FileKind("a scan", SUFFIXES)
CODED = FileKind("a coded scan", (SUFFIX,))


@dataclass(frozen=True)
class Task:
    """A file to read, and the file to write."""

    source: Path
    target: Path


@dataclass(frozen=True)
class Failed:
    """A file that could not be processed."""

    reason: str
    """One line that names the file."""


def plan_tasks(
    inputs: Iterable[Path], out: Path, kind: FileKind, renamed: Callable[[str], str]
) -> list[Task]:
    """The files to read and to write.

    The result of a file goes directly into `out`; the results of a folder keep its tree of folders.

    Args:
        inputs: files and folders.
        out: the folder to write into.
        kind: the kind of files to read.
        renamed: maps the name of a source to that of its target.

    Raises:
        InputError: an input is missing or of another kind, a folder has no such file, two inputs
            would be written to one file, or an input would be overwritten.
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
    """Do one task after another; an InputError in one does not stop the others."""
    for task in tasks:
        try:
            yield work(task)
        except InputError as error:
            yield Failed(str(error))


def _tasks(given: Path, out: Path, kind: FileKind, renamed: Callable[[str], str]) -> list[Task]:
    # Some unzip programs create a folder X.nii with the file X.nii: that is one scan, not a folder.
    if kind.matches(given.name) and given.exists():
        return [Task(given, out / renamed(given.name))]
    suffixes = " or ".join(kind.suffixes)
    if given.is_file():
        raise InputError(f"{given}: not {kind.what}; its name should end in {suffixes}")
    if not given.is_dir():
        raise InputError(f"{given}: no such file or folder")
    found = sorted(path for path in given.rglob("*") if _is_input(path, kind))
    if given.resolve() in out.resolve().parents:
        # `out` is below the input folder: the results of an earlier command are not inputs.
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
