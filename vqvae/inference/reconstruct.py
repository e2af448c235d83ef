"""Reconstructing NIfTI scans; reconstructions have the geometry and intensities of the scans."""

import csv
import io
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import numpy as np

from vqvae.data import intensity
from vqvae.data.nifti import SMALLEST_SIDE, read_scan, write_slice
from vqvae.evaluation.comparison import reconstruct_slice
from vqvae.evaluation.figures import Pair, write_pair
from vqvae.files import write_whole
from vqvae.inference.tasks import SCANS, Failed, plan_tasks, run_each
from vqvae.model.codec import Codec, bits_per_pixel

TABLE = "scores.csv"


@dataclass(frozen=True)
class Job:
    """A scan to reconstruct."""

    source: Path
    target: Path
    """The NIfTI file to write."""
    figure: Path
    """The PNG to write."""


@dataclass(frozen=True)
class Reconstructed:
    """The result of reconstructing one scan; scores of a volume are means over its slices."""

    source: str
    target: str
    ssim: float
    psnr: float
    """In dB."""
    bits_per_pixel: float


def plan_jobs(inputs: Iterable[Path], out: Path) -> list[Job]:
    """The scans to read and the files to write, with figures; see `vqvae.inference.tasks`.

    Raises:
        InputError: an input is missing or not NIfTI, a folder has no scan, two inputs would be
            written to one file, or an input would be overwritten.
    """
    tasks = plan_tasks(inputs, out, SCANS, lambda name: name)
    stems = Counter(task.target.with_name(_stem(task.target)) for task in tasks)
    return [Job(task.source, task.target, _figure_path(task.target, stems)) for task in tasks]


def reconstruct(codec: Codec, jobs: Sequence[Job]) -> Iterator[Reconstructed | Failed]:
    """Reconstruct one scan after another, on the model's device, and write a figure for each.

    A scan that cannot be read does not stop the others.
    """
    return run_each(jobs, lambda job: _reconstruct(codec, job))


def _reconstruct(codec: Codec, job: Job) -> Reconstructed:
    scan = read_scan(job.source, SMALLEST_SIDE)
    result, codes, similarities, ratios = np.empty_like(scan.pixels), 0, [], []
    slices = scan.pixels.shape[2]
    for at in range(slices):
        scaled, window = intensity.scale(scan.pixels[..., at])
        found = reconstruct_slice(codec, scaled)
        result[..., at] = intensity.restore(found.pixels, window)
        codes += found.codes
        similarities.append(found.ssim)
        ratios.append(found.psnr)
        if at == slices // 2:
            title = _stem(job.target) if slices == 1 else f"{_stem(job.target)}, slice {at}"
            write_pair(job.figure, Pair(title, scaled, found.pixels, found.ssim))
    write_slice(job.target, result, like=scan)
    return Reconstructed(
        source=str(job.source),
        target=str(job.target),
        ssim=float(np.mean(similarities)),
        psnr=float(np.mean(ratios)),
        bits_per_pixel=bits_per_pixel(codec, codes, scan.pixels.size),
    )


def write_table(rows: Sequence[Reconstructed], out: Path) -> Path:
    """Write `scores.csv` with a row for each scan; return its path."""
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, [field.name for field in fields(Reconstructed)])
    writer.writeheader()
    writer.writerows(asdict(row) for row in rows)
    # A name that is not UTF-8 is written in its own bytes.
    write_whole(out / TABLE, text.getvalue().encode("utf-8", "surrogateescape"))
    return out / TABLE


def _stem(path: Path) -> str:
    return path.name.removesuffix(".gz").removesuffix(".nii")


def _figure_path(target: Path, stems: Counter[Path]) -> Path:
    """`scan.png`, or `scan.nii.png` and `scan.nii.gz.png` if both scans exist."""
    unique = stems[target.with_name(_stem(target))] == 1
    return target.with_name(f"{_stem(target) if unique else target.name}.png")
