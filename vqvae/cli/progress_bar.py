"""The output of long work: a progress bar on a terminal, plain lines elsewhere; and tables."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from vqvae.errors import InputError
from vqvae.evaluation.evaluate import Evaluation
from vqvae.inference.compress import Encoded
from vqvae.inference.reconstruct import Reconstructed
from vqvae.inference.tasks import Failed
from vqvae.text import one_line, printable
from vqvae.training.checkpoint import Epoch

T = TypeVar("T")

_SHOWN = ("train/loss", "val/loss", "val/ssim", "val/psnr", "val/perplexity")
_LABELS = {
    "ssim": "SSIM (main protocol)",
    "ssim_body": "SSIM inside the body",
    "ssim_uniform7": "SSIM, uniform 7x7 window, range of each slice",
    "ssim_zscore": "SSIM, z-scored slices, data range 1",
    "psnr": "PSNR (dB)",
    "nmse": "NMSE",
    "bits_per_pixel": "bits per pixel",
    "perplexity": "perplexity",
    "codebook_usage": "share of codes used",
}


@dataclass(frozen=True)
class Outcome(Generic[T]):
    """The results of processing files."""

    done: list[T]
    failed: list[Failed]


def watch(rows: Iterable[Epoch], epochs: int) -> Epoch:
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


def print_evaluation(found: Evaluation) -> None:
    """Print a table of the scores, and a table with a row for each patient."""
    patients = f"{len(found.patients)} patient{'' if len(found.patients) == 1 else 's'}"
    slices = f"{found.slices} slice{'' if found.slices == 1 else 's'}"
    table = Table(title=f"{found.split}: {slices} of {patients}")
    for column in ("score", "mean over slices", "95 % bootstrap interval over patients"):
        table.add_column(column, justify="left" if column == "score" else "right")
    for name, value in found.scores.items():
        interval = found.intervals.get(name)
        shown = "" if interval is None else f"{interval.low:.4f} to {interval.high:.4f}"
        table.add_row(_label(name), f"{value:.4f}", shown)
    console = Console()
    console.print(table)
    if not found.intervals:
        console.print("no intervals: they need at least two patients")
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
        typer.echo(one_line(one.reason), err=True)
    if failed:
        raise InputError(f"{len(failed)} of {number} {what} (listed above)")


def print_scores(rows: Sequence[Reconstructed]) -> None:
    """Print a table of reconstructed scans, if there are any."""
    table = Table("scan", "SSIM", "PSNR (dB)", "bits per pixel")
    for row in rows:
        scores = (f"{row.ssim:.4f}", f"{row.psnr:.2f}", f"{row.bits_per_pixel:.4f}")
        table.add_row(escape(printable(row.target)), *scores)
    if rows:
        Console().print(table)


def print_sizes(rows: Sequence[Encoded]) -> None:
    """Print a table of encoded scans with a row of totals, if there are any."""
    if not rows:
        return
    table = Table("file", ".nii.gz (bytes)", "codes (bytes)", "ratio", "bits per pixel", "on disk")
    for row in rows:
        size = f"{row.before}*" if row.compressed_here else str(row.before)
        cells = (size, str(row.after), f"{row.before / row.after:.1f}")
        per_pixel = (f"{row.bits_per_pixel:.4f}", f"{row.bits_on_disk:.4f}")
        table.add_row(escape(printable(str(row.target))), *cells, *per_pixel)
    before, after = sum(row.before for row in rows), sum(row.after for row in rows)
    pixels = sum(row.pixels for row in rows)
    per_pixel = (f"{_mean_bits(rows):.4f}", f"{8 * after / pixels:.4f}")
    table.add_section()
    table.add_row("all", str(before), str(after), f"{before / after:.1f}", *per_pixel)
    table.caption = "bits per pixel: the codes alone (log2 K each); on disk: the whole file"
    if any(row.compressed_here for row in rows):
        table.caption += "\n* the scan is not compressed; this is its size after gzip"
    Console().print(table)


def _mean_bits(rows: Sequence[Encoded]) -> float:
    return sum(row.bits_per_pixel * row.pixels for row in rows) / sum(row.pixels for row in rows)


def _line(row: Epoch, epochs: int) -> str:
    metrics = "  ".join(f"{name} {row.metrics[name]:.4g}" for name in _SHOWN if name in row.metrics)
    end = f"  diverged: {row.diverged}" if row.diverged else ""
    return f"epoch {row.epoch}/{epochs}  {metrics}  {row.seconds:.1f} s{end}"


def _progress(console: Console) -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=console,
        disable=not console.is_terminal,
    )
