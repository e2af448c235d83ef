"""Reconstructing scans: NIfTI in, NIfTI out, with the same geometry and the same intensities."""

import csv
import io
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vqvae.data import intensity
from vqvae.data.nifti import SUFFIXES, is_nifti_name, read_slice, write_slice
from vqvae.data.splits import Split
from vqvae.errors import InputError
from vqvae.evaluation import bits_per_pixel
from vqvae.files import write_whole
from vqvae.metrics import psnr, ssim
from vqvae.model import VQVAE
from vqvae.pictures import Pair, write_pair

TABLE = "scores.csv"


@dataclass(frozen=True)
class Job:
    """A scan to reconstruct."""

    source: Path
    target: Path


@dataclass(frozen=True)
class Reconstructed:
    """What became of one scan."""

    source: str
    target: str
    ssim: float
    psnr: float
    bits_per_pixel: float


def plan(inputs: Iterable[Path], out: Path) -> list[Job]:
    """What to read and where to write: a file goes into `out`, a folder's tree below it.

    Raises:
        InputError: an input is not there or not NIfTI, a folder holds no scan, two inputs would
            be written to one file, or an input would be overwritten.
    """
    jobs = [job for given in inputs for job in _jobs(given, out)]
    taken: dict[Path, Path] = {}
    for job in jobs:
        if job.target.resolve() == job.source.resolve():
            raise InputError(f"{job.source}: --out {out} would overwrite it")
        other = taken.setdefault(job.target, job.source)
        if other is not job.source:
            raise InputError(f"{job.source} and {other} would both be written to {job.target}")
    return jobs


def reconstruct(model: VQVAE, jobs: Sequence[Job]) -> Iterator[Reconstructed]:
    """Reconstruct one scan after another, with a picture beside each.

    Raises:
        InputError: a scan cannot be read.
    """
    for job in jobs:
        scan = read_slice(job.source)
        scaled, window = intensity.scale(scan.pixels)
        made, codes, similarity = _run(model, scaled)
        job.target.parent.mkdir(parents=True, exist_ok=True)
        write_slice(job.target, intensity.restore(made, window), like=scan)
        name = _stem(job.target)
        write_pair(job.target.with_name(f"{name}.png"), Pair(name, scaled, made, similarity))
        yield Reconstructed(
            source=str(job.source),
            target=str(job.target),
            ssim=similarity,
            psnr=float(psnr(_batch(scaled), _batch(made))),
            bits_per_pixel=bits_per_pixel(model, codes, scaled.size),
        )


def write_table(rows: Sequence[Reconstructed], out: Path) -> Path:
    """Write `scores.csv`, a row a scan."""
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, [field.name for field in fields(Reconstructed)])
    writer.writeheader()
    writer.writerows(asdict(row) for row in rows)
    write_whole(out / TABLE, text.getvalue().encode())
    return out / TABLE


def compare(model: VQVAE, split: Split, number: int) -> list[Pair]:
    """Some slices of a split, spaced evenly and the same each time, and their reconstructions."""
    places = [(group, at) for group in split.groups for at in range(len(group.names))]
    chosen = np.linspace(0, len(places) - 1, min(number, len(places)) + 2).round().astype(int)
    inner = chosen[1:-1] if len(places) > number else np.arange(len(places))
    pairs = []
    for group, at in (places[position] for position in inner):
        original = group.images[at].astype(np.float32) / np.float32(65535)
        made, _, similarity = _run(model, original)
        name = group.names[at]
        title = f"case {name.case:03d}\nweek {name.week} slice {name.slice}"
        pairs.append(Pair(title, original, made, similarity))
    return pairs


@torch.inference_mode()
def _run(model: VQVAE, scaled: NDArray[np.float32]) -> tuple[NDArray[np.float32], int, float]:
    """One image in [0, 1]: its reconstruction, how many codes it took, and its SSIM."""
    original = _batch(scaled)
    made, indices = model(original)
    return made[0, 0].numpy(), indices.numel(), float(ssim(original, made))


def _batch(image: NDArray[np.float32]) -> Tensor:
    return torch.from_numpy(image.copy())[None, None]


def _jobs(given: Path, out: Path) -> list[Job]:
    # Some unzippers leave a folder X.nii that holds X.nii: that is one scan, not a folder of them.
    if is_nifti_name(given.name) and given.exists():
        return [Job(given, out / given.name)]
    if given.is_file():
        raise InputError(f"{given}: not a scan; its name should end in {' or '.join(SUFFIXES)}")
    if not given.is_dir():
        raise InputError(f"{given}: no such file or folder")
    found = sorted(path for path in given.rglob("*") if _is_scan(path))
    if not found:
        raise InputError(f"{given}: no file in it ends in {' or '.join(SUFFIXES)}")
    return [Job(path, out / path.relative_to(given)) for path in found]


def _is_scan(path: Path) -> bool:
    return is_nifti_name(path.name) and not is_nifti_name(path.parent.name)


def _stem(path: Path) -> str:
    return path.name.removesuffix(".gz").removesuffix(".nii")
