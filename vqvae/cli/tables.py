"""Tables on a terminal: scores of a model, of reconstructed scans, and sizes of encoded scans."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from vqvae.cli.names import shorten_names
from vqvae.tables import Column, FittingTable, output_console
from vqvae.text import count, printable

if TYPE_CHECKING:
    from vqvae.evaluation.evaluate import Evaluation
    from vqvae.inference.compress import Encoded
    from vqvae.inference.reconstruct import Reconstructed

MOST_ROWS = 12
"""Files that a table shows one by one; of more only the worst are shown."""
WORST = 5
_NAME_WIDTHS = (48, 32, 20)
"""Columns of a terminal that names are shortened to if the whole ones do not fit."""

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
    title = (
        f"{found.split}: {count(found.slices, 'slice')} of {count(len(found.patients), 'patient')}"
    )
    intervals = [found.intervals.get(name) for name in found.scores]
    columns = (
        Column("score", [_label(name) for name in found.scores]),
        Column("mean\nover slices", [f"{value:.4f}" for value in found.scores.values()], "right"),
        Column(
            "95 % bootstrap\ninterval\nover patients",
            ["" if i is None else f"{i.low:.4f} to {i.high:.4f}" for i in intervals],
            "right",
        ),
    )
    output_console().print(FittingTable(title, [columns]))
    if not found.intervals:
        print("no intervals: they need at least two patients")
    _print_patients(found)


def _print_patients(found: "Evaluation") -> None:
    shown = [name for name in found.scores if name == "ssim" or name.startswith("ssim_")]
    shown = [name for name in shown if name not in ("ssim_uniform7", "ssim_zscore")]
    columns = [Column("SSIM", [f"case {case:03d}" for case in found.patients])]
    for name in shown:
        scores = [f"{scores[name]:.4f}" for scores in found.patients.values()]
        columns.append(Column(name.partition("_")[2] or "whole slice", scores))
    output_console().print(FittingTable("", [columns]))


def _label(name: str) -> str:
    if name in _LABELS:
        return _LABELS[name]
    metric, _, organ = name.partition("_")
    return f"{metric.upper()} inside the {organ}"


def print_scores(rows: "Sequence[Reconstructed]", out: Path, *, all_rows: bool = False) -> None:
    """Print the scans with the lowest SSIM, and the mean and the spread of all scores.

    Args:
        rows: at least one.
        out: the folder of the reconstructions; names are shown relative to it.
        all_rows: print every scan, in any number; otherwise only a small number of scans.
    """
    few = all_rows or len(rows) <= MOST_ROWS
    shown = rows if few else sorted(rows, key=lambda row: row.ssim)[:WORST]
    title = "" if few else f"the {WORST} scans with the lowest SSIM, of {len(rows)}"
    names = [_relative(row.target, out) for row in shown]
    cells = [_scores(row.ssim, row.psnr, row.bits_per_pixel) for row in shown]
    totals = _statistics(rows) if len(rows) > 1 else {}
    headings = ("scan", "SSIM", "PSNR\n(dB)", "bits per\npixel")
    output_console().print(_table(title, headings, names, cells, totals))


def print_sizes(rows: "Sequence[Encoded]", out: Path) -> None:
    """Print the sizes of encoded scans, or of those with the lowest ratio, and of all together.

    Args:
        rows: the encoded scans; nothing is printed if there are none.
        out: the folder of the files of codes; names are shown relative to it.
    """
    if not rows:
        return
    few = len(rows) <= MOST_ROWS
    shown = rows if few else sorted(rows, key=lambda row: row.before / row.after)[:WORST]
    title = "" if few else f"the {WORST} files with the lowest ratio, of {len(rows)}"
    names = [_relative(row.target, out) for row in shown]
    cells = [_sizes(row.before, row.after, row.bits_per_pixel, row.pixels) for row in shown]
    for row, line in zip(shown, cells, strict=True):
        line[0] += "*" if row.compressed_here else ""
    caption = "bits per pixel: the codes alone (log2 K each); on disk: the whole file"
    if any(row.compressed_here for row in shown):
        caption += "\n* the scan is not compressed; this is its size after gzip"
    totals = {f"all {len(rows)}": _total(rows)} if len(rows) > 1 else {}
    headings = ("file", ".nii.gz\n(bytes)", "codes\n(bytes)", "ratio", "bits per\npixel", "on disk")
    output_console().print(_table(title, headings, names, cells, totals, caption))


def print_decoded(targets: Sequence[Path], out: Path) -> None:
    """Print the paths of decoded scans, or their number if there are many."""
    if len(targets) > MOST_ROWS:
        print(printable(f"{len(targets)} scans are decoded to {out}"))
        return
    for target in targets:
        print(printable(str(target)))


def _table(
    title: str,
    headings: Sequence[str],
    names: Sequence[str],
    cells: Sequence[Sequence[str]],
    totals: Mapping[str, Sequence[str]],
    caption: str = "",
) -> FittingTable:
    """A table whose first column has names, and the others numbers; names are shortened to fit."""
    numbers = [
        Column(heading, of_column, "right")
        for heading, of_column in zip(
            headings[1:], zip(*cells, *totals.values(), strict=True), strict=True
        )
    ]
    versions = [names, *(shorten_names(names, width) for width in _NAME_WIDTHS)]
    selections = [[Column(headings[0], [*version, *totals]), *numbers] for version in versions]
    return FittingTable(title, selections, caption, totals=len(totals))


def _relative(target: Path, out: Path) -> str:
    return printable(str(target.relative_to(out)))


def _scores(ssim: float, psnr: float, bits: float) -> list[str]:
    return [f"{ssim:.4f}", f"{psnr:.2f}", f"{bits:.4f}"]


def _statistics(rows: "Sequence[Reconstructed]") -> dict[str, list[str]]:
    """Mean, standard deviation and minimum of each score."""
    columns = list(zip(*((row.ssim, row.psnr, row.bits_per_pixel) for row in rows), strict=True))
    return {
        f"mean of {len(rows)}": _scores(*map(_mean, columns)),
        "std. deviation": _scores(*map(_deviation, columns)),
        "lowest": _scores(*map(min, columns)),
    }


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
    return _sizes(before, after, bits, pixels)
