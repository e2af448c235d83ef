"""Reconstructing scans: NIfTI in, NIfTI out, with the same geometry and the same intensities."""

import csv
import io
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vqvae.data import intensity
from vqvae.data.nifti import SMALLEST_SIDE, read_scan, write_slice
from vqvae.data.splits import Split
from vqvae.evaluation.figures import Pair, write_pair
from vqvae.evaluation.metrics import psnr, ssim
from vqvae.files import write_whole
from vqvae.inference.tasks import SCANS, Failed, plan_tasks, run_each
from vqvae.model.codec import Codec, bits_per_pixel, decode, encode

TABLE = "scores.csv"


@dataclass(frozen=True)
class Job:
    """A scan to reconstruct."""

    source: Path
    target: Path
    figure: Path


@dataclass(frozen=True)
class Reconstructed:
    """What became of one scan; of a volume, means over its slices."""

    source: str
    target: str
    ssim: float
    psnr: float
    bits_per_pixel: float


def plan_jobs(inputs: Iterable[Path], out: Path) -> list[Job]:
    """What to read and where to write, pictures included; see `vqvae.plan`.

    Raises:
        InputError: an input is not there or not NIfTI, a folder holds no scan, two inputs would
            be written to one file, or an input would be overwritten.
    """
    tasks = plan_tasks(inputs, out, SCANS, lambda name: name)
    stems = Counter(task.target.with_name(_stem(task.target)) for task in tasks)
    return [Job(task.source, task.target, _figure_path(task.target, stems)) for task in tasks]


def reconstruct(codec: Codec, jobs: Sequence[Job]) -> Iterator[Reconstructed | Failed]:
    """Reconstruct one scan after another, with a picture beside each, on the codec's device.

    One that cannot be read does not keep the others from being done.
    """
    return run_each(jobs, lambda job: _reconstruct(codec, job))


def _reconstruct(codec: Codec, job: Job) -> Reconstructed:
    scan = read_scan(job.source, SMALLEST_SIDE)
    result, codes, similarities, ratios = np.empty_like(scan.pixels), 0, [], []
    slices = scan.pixels.shape[2]
    for at in range(slices):
        scaled, window = intensity.scale(scan.pixels[..., at])
        made, number, similarity = _run(codec, scaled)
        result[..., at] = intensity.restore(made, window)
        codes += number
        similarities.append(similarity)
        ratios.append(float(psnr(_batch(scaled), _batch(made))))
        if at == slices // 2:
            title = _stem(job.target) if slices == 1 else f"{_stem(job.target)}, slice {at}"
            write_pair(job.figure, Pair(title, scaled, made, similarity))
    write_slice(job.target, result, like=scan)
    return Reconstructed(
        source=str(job.source),
        target=str(job.target),
        ssim=float(np.mean(similarities)),
        psnr=float(np.mean(ratios)),
        bits_per_pixel=bits_per_pixel(codec, codes, scan.pixels.size),
    )


def write_table(rows: Sequence[Reconstructed], out: Path) -> Path:
    """Write `scores.csv`, a row a scan."""
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, [field.name for field in fields(Reconstructed)])
    writer.writeheader()
    writer.writerows(asdict(row) for row in rows)
    write_whole(out / TABLE, text.getvalue().encode())
    return out / TABLE


def compare(codec: Codec, split: Split, number: int) -> list[Pair]:
    """Some slices of a split, spaced evenly and the same each time, and their reconstructions."""
    total = len(split)
    chosen = np.linspace(0, total - 1, min(number, total) + 2).round().astype(int)
    return pairs_at(codec, split, chosen[1:-1] if total > number else range(total))


def pairs_at(codec: Codec, split: Split, positions: Iterable[int]) -> list[Pair]:
    """The slices at some positions of a split's order, and their reconstructions."""
    places = [(group, at) for group in split.groups for at in range(len(group.names))]
    pairs = []
    for group, at in (places[position] for position in positions):
        original = group.images[at].astype(np.float32) / np.float32(65535)
        made, _, similarity = _run(codec, original)
        name = group.names[at]
        title = f"case {name.case:03d}\nweek {name.week} slice {name.slice}"
        pairs.append(Pair(title, original, made, similarity))
    return pairs


def _run(codec: Codec, scaled: NDArray[np.float32]) -> tuple[NDArray[np.float32], int, float]:
    """One image in [0, 1]: its reconstruction, how many codes it took, and its SSIM."""
    indices = encode(codec, scaled)
    made = decode(codec, indices, *scaled.shape)
    return made, indices.size, float(ssim(_batch(scaled), _batch(made)))


def _batch(image: NDArray[np.float32]) -> Tensor:
    return torch.from_numpy(image.copy())[None, None]


def _stem(path: Path) -> str:
    return path.name.removesuffix(".gz").removesuffix(".nii")


def _figure_path(target: Path, stems: Counter[Path]) -> Path:
    """`scan.png`, or `scan.nii.png` and `scan.nii.gz.png` where there are both."""
    alone = stems[target.with_name(_stem(target))] == 1
    return target.with_name(f"{_stem(target) if alone else target.name}.png")
