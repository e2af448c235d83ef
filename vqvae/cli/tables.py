"""Tables on a terminal: scores of a model, of reconstructed scans, and sizes of encoded scans."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from vqvae.cli.names import shorten_names
from vqvae.text import printable

if TYPE_CHECKING:
    from vqvae.evaluation.evaluate import Evaluation
    from vqvae.inference.compress import Encoded
    from vqvae.inference.reconstruct import Reconstructed

MOST_ROWS = 12
"""Files that a table shows one by one; of more only the worst are shown."""
WORST = 5
_NARROWEST = 12  # columns of a name
_WIDEST = 10_000  # columns of a table that nobody sees on a terminal: its names are not shortened

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


def print_scores(rows: "Sequence[Reconstructed]", out: Path, *, all_rows: bool = False) -> None:
    """Print the mean and the spread of the scores, and the scans with the lowest SSIM.

    Args:
        rows: at least one.
        out: the folder of the reconstructions; names are shown relative to it.
        all_rows: print every scan, in any number; otherwise only a small number of scans.
    """
    few = all_rows or len(rows) <= MOST_ROWS
    shown = rows if few else sorted(rows, key=lambda row: row.ssim)[:WORST]
    headings = ["scan", "SSIM", "PSNR\n(dB)", "bits per\npixel"]
    summary = _summary(rows) if len(rows) > 1 else []
    cells = [
        [_relative(row.target, out), *_scores(row.ssim, row.psnr, row.bits_per_pixel)]
        for row in shown
    ]
    caption = None if few else f"the {WORST} scans with the lowest SSIM, of {len(rows)}"
    _print(headings, summary, cells, caption)


def print_sizes(rows: "Sequence[Encoded]", out: Path) -> None:
    """Print the sizes of encoded scans in total, and of each, or of those with the lowest ratio.

    Args:
        rows: the encoded scans; nothing is printed if there are none.
        out: the folder of the files of codes; names are shown relative to it.
    """
    if not rows:
        return
    few = len(rows) <= MOST_ROWS
    shown = rows if few else sorted(rows, key=lambda row: row.before / row.after)[:WORST]
    headings = ["file", ".nii.gz\n(bytes)", "codes\n(bytes)", "ratio", "bits per\npixel", "on disk"]
    cells = [
        [_relative(row.target, out), *_sizes(row.before, row.after, row.bits_per_pixel, row.pixels)]
        for row in shown
    ]
    for row, line in zip(shown, cells, strict=True):
        line[1] += "*" if row.compressed_here else ""
    caption = "bits per pixel: the codes alone (log2 K each); on disk: the whole file"
    if any(row.compressed_here for row in shown):
        caption += "\n* the scan is not compressed; this is its size after gzip"
    if not few:
        caption = f"the {WORST} files with the lowest ratio, of {len(rows)}\n{caption}"
    _print(headings, [_total(rows)], cells, caption)


def print_decoded(targets: Sequence[Path], out: Path) -> None:
    """Print the paths of decoded scans, or their number if there are many."""
    if len(targets) > MOST_ROWS:
        typer.echo(printable(f"{len(targets)} scans are decoded to {out}"))
        return
    for target in targets:
        typer.echo(printable(str(target)))


def _print(
    headings: Sequence[str],
    summary: Sequence[Sequence[str]],
    rows: Sequence[Sequence[str]],
    caption: str | None,
) -> None:
    """Print a table whose first column has names, and the others numbers.

    On a terminal the names are shortened to the width that is left, and the last columns are left
    out if it is too narrow.
    """
    console = Console()
    names = [row[0] for row in rows]
    columns = len(headings)
    if console.is_terminal:
        widths = _widths(headings, [*summary, *rows])
        while columns > 2 and _left(console.width, widths[1:columns]) < _NARROWEST:
            columns -= 1
        left = _left(console.width, widths[1:columns])
        names = shorten_names(names, max(left, _NARROWEST))
    else:
        console.width = _WIDEST
    if columns < len(headings):
        caption = "\n".join(filter(None, [caption, "a wider terminal shows more columns"]))
    table = Table(caption=caption, caption_justify="left")
    table.add_column(headings[0], overflow="fold")
    for heading in headings[1:columns]:
        table.add_column(heading, justify="right", no_wrap=True)
    for row in summary:
        table.add_row(*row[:columns])
    table.add_section()
    for name, row in zip(names, rows, strict=True):
        table.add_row(Text(name), *row[1:columns])
    console.print(table)


def _widths(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> list[int]:
    """The width of the text in each column."""
    columns = zip(headings, *rows, strict=True)
    return [max(len(line) for cell in column for line in cell.split("\n")) for column in columns]


def _left(width: int, numbers: Sequence[int]) -> int:
    """The width that is left for names in a table of `width`, beside columns of numbers.

    A column has two spaces and a line beside its text, and the table has one line more.
    """
    return width - sum(numbers) - 3 * (len(numbers) + 1) - 1


def _relative(target: Path, out: Path) -> str:
    return printable(str(target.relative_to(out)))


def _scores(ssim: float, psnr: float, bits: float) -> list[str]:
    return [f"{ssim:.4f}", f"{psnr:.2f}", f"{bits:.4f}"]


def _summary(rows: "Sequence[Reconstructed]") -> list[list[str]]:
    """Mean, standard deviation and minimum of each score."""
    columns = list(zip(*((row.ssim, row.psnr, row.bits_per_pixel) for row in rows), strict=True))
    return [
        [f"mean of {len(rows)}", *_scores(*map(_mean, columns))],
        ["std. deviation", *_scores(*map(_deviation, columns))],
        ["lowest", *_scores(*map(min, columns))],
    ]


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def _deviation(values: Sequence[float]) -> float:
    """The standard deviation of a sample; not a number if a value is infinite."""
    mean = _mean(values)
    return math.sqrt(sum((value - mean) ** 2 for value in values) / (len(values) - 1))


def _sizes(before: int, after: int, bits_per_pixel: float, pixels: int) -> list[str]:
    rates = [f"{bits_per_pixel:.4f}", f"{8 * after / pixels:.4f}"]
    return [str(before), str(after), f"{before / after:.1f}", *rates]


def _total(rows: "Sequence[Encoded]") -> list[str]:
    before, after = sum(row.before for row in rows), sum(row.after for row in rows)
    pixels = sum(row.pixels for row in rows)
    bits = sum(row.bits_per_pixel * row.pixels for row in rows) / pixels
    return [f"all {len(rows)}", *_sizes(before, after, bits, pixels)]
