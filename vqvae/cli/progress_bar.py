"""The output of long work: a progress bar on a terminal, plain lines elsewhere."""

from collections.abc import Iterable
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

if TYPE_CHECKING:
    from vqvae.training.checkpoint import Epoch

_SHOWN = ("train/loss", "val/loss", "val/ssim", "val/psnr", "val/perplexity")


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
    with progress_bar(console) as progress:
        task = progress.add_task("training", total=epochs)
        for last in rows:
            progress.console.print(
                _line(last, epochs), highlight=False, markup=False, soft_wrap=True
            )
            progress.update(task, completed=last.epoch)
    if last is None:
        raise RuntimeError("no epoch was trained")
    return last


def _line(row: "Epoch", epochs: int) -> str:
    metrics = "  ".join(f"{name} {row.metrics[name]:.4g}" for name in _SHOWN if name in row.metrics)
    end = f"  diverged: {row.diverged}" if row.diverged else ""
    return f"epoch {row.epoch}/{epochs}  {metrics}  {row.seconds:.1f} s{end}"


def progress_bar(console: Console) -> Progress:
    """A progress bar; it shows nothing if the console is not a terminal."""
    bar = (BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    return Progress(
        TextColumn("{task.description}"),
        *(bar if console.width >= 60 else (MofNCompleteColumn(),)),
        console=console,
        disable=not console.is_terminal or console.is_dumb_terminal,
    )
