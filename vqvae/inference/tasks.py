"""Which files a command reads and which it writes; a file that fails does not stop the others."""

import contextlib
import errno
import os
import traceback
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Generic, TypeVar

from vqvae.data.nifti import SUFFIXES
from vqvae.data.tree import find_below
from vqvae.errors import InputError, UnavailableError
from vqvae.inference.vqc_format import SUFFIX

Done = TypeVar("Done")


@dataclass(frozen=True)
class FileKind:
    """A kind of file that a command reads."""

    what: str
    """Its name in messages, with an article."""
    suffixes: tuple[str, ...]

    def matches(self, name: str) -> bool:
        """Whether a file name is one of this kind; hidden files are not."""
        return name.lower().endswith(self.suffixes) and not name.startswith(".")


SCANS = FileKind("a scan", SUFFIXES)
CODED = FileKind("a coded scan", (SUFFIX,))


@dataclass(frozen=True)
class Task:
    """A file to read, and the file to write."""

    source: Path
    target: Path


@dataclass(frozen=True)
class Failed(Generic[Done]):
    """A file or a folder that could not be processed, or not completely."""

    reason: str
    """One line that names the file."""
    bad_input: bool = False
    """Whether the file itself is wrong. Otherwise it is the disk, the memory or the device."""
    done: Done | None = None
    """What was written nevertheless."""
    traceback: str = ""
    """Where an unexpected error was raised. (The error itself would keep its scan in memory.)"""


@dataclass
class Plan:
    """What a command will read and write, and what it cannot read."""

    tasks: list[Task] = field(default_factory=list)
    failed: list[Failed[None]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    """One line for each folder that is not read, with the reason; nothing is lost by it."""


class WriteError(RuntimeError):
    """A result cannot be written; the message names the input and the result."""


def plan_tasks(
    inputs: Iterable[Path], out: Path, kind: FileKind, renamed: Callable[[str], str]
) -> Plan:
    """The files to read and to write.

    The result of a file goes directly into `out`; the results of a folder keep its tree of folders.
    A folder's links are followed. Files in `out` are not read if a folder above it is given: they
    are the results of an earlier command.

    Args:
        inputs: files and folders.
        out: the folder to write into.
        kind: the kind of files to read.
        renamed: maps the name of a source to that of its target; it may raise InputError.

    Raises:
        InputError: the only input is missing or of another kind, or a folder without such a file;
            two inputs would be written to one file, or an input would be overwritten.
    """
    plan, given_inputs = Plan(), list(inputs)
    for given in given_inputs:
        try:
            _add(plan, given, out, kind, renamed)
        except InputError as error:
            if len(given_inputs) == 1:
                raise
            plan.failed.append(Failed(str(error), bad_input=True))
    plan.tasks = _without_repetitions(plan.tasks)
    _refuse_overwriting(plan.tasks, out)
    return plan


def run_each(
    tasks: Iterable[Task], work: Callable[[Task], Done | Failed[Done]]
) -> Iterator[Done | Failed[Done]]:
    """Do one task after another; an error in one does not stop the others."""
    for task in tasks:
        yield attempt(task, work)


def attempt(task: Task, work: Callable[[Task], Done | Failed[Done]]) -> Done | Failed[Done]:
    """Do one task; whatever error it raises is returned."""
    try:
        return work(task)
    except InputError as error:
        return Failed(str(error), bad_input=not isinstance(error, UnavailableError))
    except WriteError as error:
        return Failed(str(error))
    except OSError as error:
        other = "" if error.filename in {None, str(task.source)} else f"{error.filename} "
        return Failed(f"{task.source}: {other}cannot be read ({error.strerror or error})")
    except MemoryError:
        return Failed(f"{task.source}: not enough memory; split it into smaller volumes")
    # A device whose memory is full, or a bug: other files may not be affected.
    except Exception as error:  # noqa: BLE001 (the boundary of a file)
        reason = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
        return Failed(f"{task.source}: {reason}", traceback=traceback.format_exc())


@contextlib.contextmanager
def writing(task: Task, path: Path) -> Iterator[None]:
    """Name the file that a block writes, and the task's source, if it cannot be written.

    Raises:
        WriteError: in place of an OSError.
    """
    try:
        yield
    except OSError as error:
        raise WriteError(f"{task.source}: {_unwritable(path, error)}") from error


def _unwritable(path: Path, error: OSError) -> str:
    if error.errno == errno.ENAMETOOLONG:
        return f"{path} cannot be written (its name is too long); rename the input to a shorter one"
    if error.errno in (errno.EISDIR, errno.ENOTEMPTY):
        return (
            f"{path} cannot be written (a folder has this name); remove it, or give another --out"
        )
    return f"{path} cannot be written ({error.strerror or error})"


def _add(plan: Plan, given: Path, out: Path, kind: FileKind, renamed: Callable[[str], str]) -> None:
    """Add the files of one input to the plan."""
    # Some unzip programs create a folder X.nii with the file X.nii: that is one scan, not a folder.
    is_file = given.is_file()
    if kind.matches(given.name) and (is_file or (given / given.name).is_file()):
        _add_task(plan, given, out / given.name, renamed)
        return
    suffixes = " or ".join(kind.suffixes)
    if is_file:
        raise InputError(f"{given}: not {kind.what}; its name should end in {suffixes}")
    if not given.is_dir():
        raise InputError(_missing(given))
    found = find_below(given, kind.matches)
    plan.failed += [Failed(line, bad_input=True) for line in found.failed]
    plan.notes += found.repeated
    plan.notes += found.unread if kind is SCANS else ()
    inputs = _without_results(found.files, given, out)
    if not found.files and not found.failed:
        unread = f"; {found.unread[0]}" if found.unread and kind is SCANS else ""
        raise InputError(f"{given}: no file in it ends in {suffixes}{unread}")
    if not inputs and not found.failed:
        raise InputError(
            f"{given}: all its files are in {out}, where results are written; give another --out"
        )
    if len(inputs) < len(found.files):
        left = len(found.files) - len(inputs)
        files = "file is" if left == 1 else "files are"
        plan.notes.append(f"{out}: {left} {files} not read, because results are written there")
    for path in inputs:
        _add_task(plan, path, out / path.relative_to(given), renamed)


def _add_task(plan: Plan, source: Path, place: Path, renamed: Callable[[str], str]) -> None:
    """Add a task whose target is `place` with another name."""
    try:
        plan.tasks.append(Task(source, place.with_name(renamed(place.name))))
    except InputError as error:
        plan.failed.append(Failed(f"{source}: {error}", bad_input=True))


def _missing(given: Path) -> str:
    if given.is_symlink():
        return f"{given}: a link to {given.readlink()}, which leads nowhere"
    return f"{given}: no such file or folder"


def _without_results(found: Iterable[Path], given: Path, out: Path) -> list[Path]:
    """The files that are not in `out`, whatever link leads there; all, if `given` is in `out`."""
    results = _real(out)
    if _real(given).is_relative_to(results):
        return list(found)
    inside: dict[Path, bool] = {}
    for path in found:
        if path.parent not in inside:
            inside[path.parent] = _real(path.parent).is_relative_to(results)
    return [path for path in found if not inside[path.parent]]


def _without_repetitions(tasks: Iterable[Task]) -> list[Task]:
    """The tasks without those of a file that was given twice.

    Raises:
        InputError: two different files would be written to one.
    """
    taken: dict[Path, Task] = {}
    for task in tasks:
        other = taken.setdefault(task.target, task)
        if other is not task and _real(other.source) != _real(task.source):
            raise InputError(
                f"{task.source} and {other.source} would both be written to {task.target}; "
                "give one of them in a command of its own, with another --out"
            )
    return list(taken.values())


def _refuse_overwriting(tasks: Iterable[Task], out: Path) -> None:
    """Check that no target is a source, of the same task or of another one."""
    tasks = list(tasks)
    sources = {_real(task.source): task.source for task in tasks}
    for task in tasks:
        source = sources.get(_real(task.target))
        if source is not None:
            raise InputError(f"{source}: --out {out} would overwrite it; give another --out")


def _real(path: Path) -> Path:
    """The path without links. `Path.resolve` would raise for a link that leads to itself."""
    return Path(os.path.realpath(path))
