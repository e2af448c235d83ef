"""The work on many files: what is done, what failed, and how the command ends."""

import contextlib
import signal
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from rich.console import Console

from vqvae.cli.progress_bar import progress_bar
from vqvae.errors import InputError
from vqvae.inference.tasks import Failed, Plan
from vqvae.text import one_line

if TYPE_CHECKING:
    from vqvae.model.codec import Codec

T = TypeVar("T")


@dataclass
class Outcome(Generic[T]):
    """The results of processing files."""

    done: list[T]
    failed: list[Failed[Any]]
    total: int
    """All files and folders that were to be processed."""
    interrupted: bool = False
    """Whether a person stopped the work before its end."""


def begin(plan: Plan, model: str, device: str) -> "Codec":
    """Open the model of a command, after a line for each folder that the command will not read.

    Raises:
        InputError: there is nothing to do, or no such model.
    """
    from vqvae.device import choose_device
    from vqvae.inference.load import open_model

    for note in plan.notes:
        print(one_line(note), file=sys.stderr)
    if not plan.tasks:
        refuse_failures(Outcome([], list(plan.failed), len(plan.failed)))
    codec, _ = open_model(model, choose_device(device))
    return codec


def collect_with_progress(rows: Iterable[T | Failed[T]], plan: Plan, what: str) -> Outcome[T]:
    """Show a progress bar while `rows` are produced; separate results and failures.

    An interruption (Ctrl-C, or SIGTERM at the end of a job) ends the work, and what was done by
    then is returned.

    Args:
        rows: the results, produced one after another, one for each task.
        plan: the tasks, and the files that failed before them.
        what: the label of the progress bar.
    """
    found: Outcome[T] = Outcome([], list(plan.failed), len(plan.failed) + len(plan.tasks))
    with progress_bar(Console()) as progress, _termination_interrupts():
        task = progress.add_task(what, total=len(plan.tasks))
        try:
            for row in rows:
                if not isinstance(row, Failed):
                    found.done.append(row)
                else:
                    found.failed.append(row)
                    found.done += [] if row.done is None else [row.done]
                progress.advance(task)
        except KeyboardInterrupt:
            found.interrupted = True
    return found


@contextlib.contextmanager
def _termination_interrupts() -> Iterator[None]:
    """Let SIGTERM do what Ctrl-C does while the block runs."""
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def refuse_failures(outcome: Outcome[Any]) -> None:
    """Print a line for each file that failed.

    Raises:
        InputError: the only file is wrong.
        RuntimeError: files failed, or the work was interrupted.
    """
    failed = outcome.failed
    if len(failed) == outcome.total == 1 and not outcome.done:
        kind = InputError if failed[0].bad_input else RuntimeError
        raise _with_tracebacks(kind(failed[0].reason), failed)
    for one in failed:
        print(one_line(one.reason), file=sys.stderr)
    what = f"{len(failed)} of {outcome.total} files failed (listed above)" if failed else ""
    if outcome.interrupted:
        done = f"interrupted when {len(outcome.done)} of {outcome.total} files were done"
        what = f"{done}; {what}" if failed else done
    if what:
        raise _with_tracebacks(RuntimeError(what), failed)


def _with_tracebacks(error: Exception, failed: Sequence[Failed[Any]]) -> Exception:
    """The error with the tracebacks of what failed, for the option `--debug`."""
    for one in failed:
        if one.traceback:
            error.add_note(one.traceback)
    return error
