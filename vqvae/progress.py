"""What a person sees of long work: a moving display on a terminal, plain lines elsewhere."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from vqvae.checkpoint import Epoch
from vqvae.evaluation import Evaluation
from vqvae.reconstruction import Failed, Reconstructed

_SHOWN = ("train/loss", "val/loss", "val/ssim", "val/psnr", "val/perplexity")
_LABELS = {
    "ssim": "SSIM (main: data range 1, Gaussian 11)",
    "ssim_body": "SSIM inside the body",
    "ssim_uniform7": "SSIM, uniform 7x7, own range",
    "ssim_zscore": "SSIM, z-score, data range 1",
    "psnr": "PSNR (dB)",
    "nmse": "NMSE",
    "bits_per_pixel": "bits per pixel",
    "perplexity": "perplexity",
    "codebook_usage": "share of codes used",
}


@dataclass(frozen=True)
class Scores:
    """What became of the scans."""

    done: list[Reconstructed]
    failed: list[Failed]


def watch(rows: Iterable[Epoch], epochs: int) -> Epoch:
    """Show each epoch as it ends, and return the last.

    Raises:
        RuntimeError: there was none.
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
        raise RuntimeError("not one epoch was trained")
    return last


def print_evaluation(found: Evaluation) -> None:
    """A table of the scores, and a line for each patient."""
    patients = f"{len(found.patients)} patient{'' if len(found.patients) == 1 else 's'}"
    slices = f"{found.slices} slice{'' if found.slices == 1 else 's'}"
    table = Table(title=f"{found.split}: {slices} of {patients}")
    table.add_column("score")
    table.add_column("mean over slices", justify="right")
    for name, label in _LABELS.items():
        table.add_row(label, f"{found.scores[name]:.4f}")
    console = Console()
    console.print(table)
    if found.interval is None:
        console.print("one patient: how much patients scatter cannot be said")
    else:
        low, high = found.interval.low, found.interval.high
        console.print(f"SSIM, 95 % of bootstraps over patients: {low:.4f} to {high:.4f}")
    for case, value in found.patients.items():
        console.print(f"case {case:03d}: SSIM {value:.4f}")


def print_scores(rows: Iterator[Reconstructed | Failed], number: int) -> Scores:
    """Show the work as it goes on, then a table of the scores."""
    console = Console()
    done: list[Reconstructed] = []
    failed: list[Failed] = []
    with _progress(console) as progress:
        task = progress.add_task("reconstructing", total=number)
        for row in rows:
            if isinstance(row, Failed):
                failed.append(row)
            else:
                done.append(row)
            progress.advance(task)
    table = Table("scan", "SSIM", "PSNR (dB)", "bits per pixel")
    for row in done:
        table.add_row(
            escape(row.target), f"{row.ssim:.4f}", f"{row.psnr:.2f}", f"{row.bits_per_pixel:.4f}"
        )
    if done:
        console.print(table)
    return Scores(done, failed)


def _line(row: Epoch, epochs: int) -> str:
    figures = "  ".join(f"{name} {row.metrics[name]:.4g}" for name in _SHOWN if name in row.metrics)
    end = f"  diverged: {row.diverged}" if row.diverged else ""
    return f"epoch {row.epoch}/{epochs}  {figures}  {row.seconds:.1f} s{end}"


def _progress(console: Console) -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=console,
        disable=not console.is_terminal,
    )
