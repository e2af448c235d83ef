"""Tables on a terminal: scores of a model, of reconstructed scans, and sizes of encoded scans."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from vqvae.tables import Column, FittingTable, output_console

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
    output_console().print(FittingTable(f"{found.split}: {slices} of {patients}", [columns]))
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


def print_scores(rows: "Sequence[Reconstructed]") -> None:
    """Print a table of reconstructed scans, if there are any."""
    columns = (
        Column("scan", [row.target for row in rows]),
        Column("SSIM", [f"{row.ssim:.4f}" for row in rows]),
        Column("PSNR (dB)", [f"{row.psnr:.2f}" for row in rows]),
        Column("bits per pixel", [f"{row.bits_per_pixel:.4f}" for row in rows]),
    )
    if rows:
        output_console().print(FittingTable("", [columns]))


def print_sizes(rows: "Sequence[Encoded]") -> None:
    """Print a table of encoded scans with a row of totals, if there are any."""
    if not rows:
        return
    before, after = sum(row.before for row in rows), sum(row.after for row in rows)
    pixels = sum(row.pixels for row in rows)
    on_disk = [*(row.bits_on_disk for row in rows), 8 * after / pixels]
    per_pixel = [*(row.bits_per_pixel for row in rows), _mean_bits(rows)]
    ratios = [*(row.before / row.after for row in rows), before / after]
    sizes = [f"{row.before}{'*' if row.compressed_here else ''}" for row in rows]
    columns = (
        Column("file", [*(str(row.target) for row in rows), "all"]),
        Column(".nii.gz (bytes)", [*sizes, str(before)]),
        Column("codes (bytes)", [*(str(row.after) for row in rows), str(after)]),
        Column("ratio", [f"{ratio:.1f}" for ratio in ratios]),
        Column("bits per pixel", [f"{bits:.4f}" for bits in per_pixel]),
        Column("on disk", [f"{bits:.4f}" for bits in on_disk]),
    )
    caption = "bits per pixel: the codes alone (log2 K each); on disk: the whole file"
    if any(row.compressed_here for row in rows):
        caption += "\n* the scan is not compressed; this is its size after gzip"
    output_console().print(FittingTable("", [columns], caption, has_total=True))


def _mean_bits(rows: "Sequence[Encoded]") -> float:
    return sum(row.bits_per_pixel * row.pixels for row in rows) / sum(row.pixels for row in rows)
