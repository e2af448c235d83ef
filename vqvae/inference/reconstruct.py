"""Reconstructing NIfTI scans; reconstructions have the geometry and intensities of the scans."""

import csv
import io
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vqvae.data import intensity
from vqvae.data.nifti import SMALLEST_SIDE, Scan, read_scan, write_slice
from vqvae.evaluation.comparison import reconstruct_slice
from vqvae.evaluation.figures import Pair, write_pair
from vqvae.files import write_whole
from vqvae.inference.tasks import Failed, Task, attempt, run_each, writing
from vqvae.model.codec import Codec, bits_per_pixel

TABLE = "scores.csv"


@dataclass(frozen=True)
class Reconstructed:
    """The result of reconstructing one scan; scores of a volume are means over its slices."""

    source: Path
    target: Path
    ssim: float
    psnr: float
    """In dB."""
    bits_per_pixel: float


def reconstruct(
    codec: Codec, tasks: Sequence[Task]
) -> Iterator[Reconstructed | Failed[Reconstructed]]:
    """Reconstruct one scan after another, on the model's device, and write a figure for each.

    One that fails does not stop the others.
    """
    figures = figure_paths([task.target for task in tasks])
    return run_each(tasks, lambda task: _reconstruct(codec, task, figures[task.target]))


def _reconstruct(codec: Codec, task: Task, figure: Path) -> Reconstructed | Failed[Reconstructed]:
    scan = read_scan(task.source, SMALLEST_SIDE)
    pixels, row, middle = _through(codec, task, scan)
    with writing(task, task.target):
        write_slice(task.target, pixels, like=scan)
    figure_result = attempt(task, lambda _: _write_figure(task, figure, middle))
    if isinstance(figure_result, Failed):
        reason = f"{figure_result.reason}; the reconstruction is written"
        return Failed(reason, done=row, traceback=figure_result.traceback)
    return row


def _write_figure(task: Task, path: Path, pair: Pair) -> None:
    with writing(task, path):
        write_pair(path, pair)


def _through(codec: Codec, task: Task, scan: Scan) -> tuple[NDArray[Any], Reconstructed, Pair]:
    """The reconstructed pixels, [H, W, S] in the type of the scan, their scores, a middle slice."""
    result, codes, similarities, ratios = np.empty_like(scan.pixels), 0, [], []
    slices = scan.pixels.shape[2]
    for at in range(slices):
        scaled, window = intensity.scale(scan.pixels[..., at])
        found = reconstruct_slice(codec, scaled)
        result[..., at] = intensity.restore(found.pixels, window, result.dtype)
        codes += found.codes
        similarities.append(found.ssim)
        ratios.append(found.psnr)
        if at == slices // 2:
            title = _stem(task.target) if slices == 1 else f"{_stem(task.target)}, slice {at}"
            middle = Pair(title, scaled, found.pixels, found.ssim)
    row = Reconstructed(
        source=task.source,
        target=task.target,
        ssim=float(np.mean(similarities)),
        psnr=float(np.mean(ratios)),
        bits_per_pixel=bits_per_pixel(codec, codes, scan.pixels.size),
    )
    return result, row, middle


def write_table(rows: Sequence[Reconstructed], out: Path) -> Path:
    r"""Write `scores.csv` with a row for each scan; return its path.

    The file is UTF-8. A byte of a name that is not UTF-8 is written as `\xfc`, and a backslash of
    a name as two, so that each name can be read from the table.

    Raises:
        OSError: it cannot be written.
    """
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, [field.name for field in fields(Reconstructed)])
    writer.writeheader()
    for row in rows:
        names = {"source": _escaped(row.source), "target": _escaped(row.target)}
        writer.writerow(asdict(row) | names)
    write_whole(out / TABLE, text.getvalue().encode())
    return out / TABLE


def figure_paths(targets: Sequence[Path]) -> dict[Path, Path]:
    """The figure of each reconstruction, all different.

    `scan.png`, or `scan.nii.png` and `scan.nii.gz.png` if both reconstructions exist.
    """
    stems = Counter(target.with_name(_stem(target)) for target in targets)
    names = set(targets)  # `scan.nii.png` may not be the figure of `scan.nii.nii`
    figures = {}
    for target in targets:
        stem = target.with_name(_stem(target))
        unique = stems[stem] == 1 and stem not in names
        figures[target] = target.with_name(f"{stem.name if unique else target.name}.png")
    return figures


def _escaped(path: Path) -> str:
    name = str(path).replace("\\", "\\\\")
    return os.fsencode(name).decode(errors="backslashreplace")


def _stem(path: Path) -> str:
    return path.name.removesuffix(".gz").removesuffix(".nii")
