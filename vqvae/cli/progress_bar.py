"""The output of long work: a progress bar on a terminal, plain lines elsewhere; and what failed."""

import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, TypeVar

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from vqvae.errors import InputError
from vqvae.inference.tasks import Failed
from vqvae.text import one_line

if TYPE_CHECKING:
    from vqvae.training.checkpoint import Epoch

T = TypeVar("T")

_SHOWN = ("train/loss", "val/loss", "val/ssim", "val/psnr", "val/perplexity")


@dataclass(frozen=True)
class Outcome(Generic[T]):
    """The results of processing files."""

    done: list[T]
    failed: list[Failed]


def watch(rows: "Iterable[Epoch]", epochs: int) -> "Epoch":
    """Print each epoch when it ends, and return the last one.

    Args:
        rows: the epochs, as `fit` yields them.
        epochs: the number of epochs of the whole training.

    Raises:
        RuntimeError: there was no epoch.
    """
    last = None
    console = Console()
    with _progress(console) as progress:
        task = progress.add_task("training", total=epochs)
        for last in rows:
            progress.console.print(
                _line(last, epochs), highlight=False, markup=False, soft_wrap=True
            )
            progress.update(task, completed=last.epoch)
    if last is None:
        raise RuntimeError("no epoch was trained")
    return last


def collect_with_progress(rows: Iterable[T | Failed], number: int, what: str) -> Outcome[T]:
    """Show a progress bar while `rows` are produced; separate results and failures.

    Args:
        rows: the results, produced one after another.
        number: how many there will be.
        what: the label of the progress bar.
    """
    found: Outcome[T] = Outcome([], [])
    with _progress(Console()) as progress:
        task = progress.add_task(what, total=number)
        for row in rows:
            if isinstance(row, Failed):
                found.failed.append(row)
            else:
                found.done.append(row)
            progress.advance(task)
    return found


def refuse_failures(failed: Sequence[Failed], number: int, what: str) -> None:
    """Print a line for each file that failed.

    Args:
        failed: the files that could not be processed.
        number: the number of all files.
        what: the end of the message, such as "scans could not be encoded".

    Raises:
        InputError: at least one file failed.
    """
    if len(failed) == number == 1:
        raise InputError(failed[0].reason)
    for one in failed:
        print(one_line(one.reason), file=sys.stderr)
    if failed:
        raise InputError(f"{len(failed)} of {number} {what} (listed above)")


def _line(row: "Epoch", epochs: int) -> str:
    metrics = "  ".join(f"{name} {row.metrics[name]:.4g}" for name in _SHOWN if name in row.metrics)
    end = f"  diverged: {row.diverged}" if row.diverged else ""
    return f"epoch {row.epoch}/{epochs}  {metrics}  {row.seconds:.1f} s{end}"


def _progress(console: Console) -> Progress:
    bar = (BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    return Progress(
        TextColumn("{task.description}"),
        *(bar if console.width >= 60 else (MofNCompleteColumn(),)),
        console=console,
        disable=not console.is_terminal or console.is_dumb_terminal,
    )
