"""Tables on a terminal: scores of a model, of reconstructed scans, and sizes of encoded scans."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from vqvae.text import printable

if TYPE_CHECKING:
    from vqvae.evaluation.evaluate import Evaluation
    from vqvae.inference.compress import Encoded
    from vqvae.inference.reconstruct import Reconstructed

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


def print_evaluation(found: "Evaluation") -> None:
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


def _print_patients(console: Console, found: "Evaluation") -> None:
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


def print_scores(rows: "Sequence[Reconstructed]") -> None:
    """Print a table of reconstructed scans, if there are any."""
    table = Table("scan", "SSIM", "PSNR (dB)", "bits per pixel")
    for row in rows:
        scores = (f"{row.ssim:.4f}", f"{row.psnr:.2f}", f"{row.bits_per_pixel:.4f}")
        table.add_row(escape(printable(row.target)), *scores)
    if rows:
        Console().print(table)


def print_sizes(rows: "Sequence[Encoded]") -> None:
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


def _mean_bits(rows: "Sequence[Encoded]") -> float:
    return sum(row.bits_per_pixel * row.pixels for row in rows) / sum(row.pixels for row in rows)
