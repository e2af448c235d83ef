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
    for column in ("score", "mean over slices", "95 % of bootstraps over patients"):
        table.add_column(column, justify="left" if column == "score" else "right")
    for name, value in found.scores.items():
        ends = found.intervals.get(name)
        shown = "" if ends is None else f"{ends.low:.4f} to {ends.high:.4f}"
        table.add_row(_label(name), f"{value:.4f}", shown)
    console = Console()
    console.print(table)
    if not found.intervals:
        console.print("one patient: how much patients scatter cannot be said")
    _print_patients(console, found)


def _print_patients(console: Console, found: Evaluation) -> None:
    shown = [name for name in found.scores if name == "ssim" or name.startswith("ssim_")]
    shown = [name for name in shown if name not in ("ssim_uniform7", "ssim_zscore")]
    table = Table("SSIM", *(name.partition("_")[2] or "whole slice" for name in shown))
    for case, scores in found.patients.items():
        table.add_row(f"case {case:03d}", *(f"{scores[name]:.4f}" for name in shown))
    console.print(table)


def _label(name: str) -> str:
    if name in _LABELS:
        return _LABELS[name]
    metric, _, organ = name.partition("_")
    return f"{metric.upper()} inside the {organ}"


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
