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

from vqvae.codec import Codec, bits_per_pixel
from vqvae.data import intensity
from vqvae.data.nifti import SMALLEST_SIDE, SUFFIXES, is_nifti_name, read_slice, write_slice
from vqvae.data.splits import Split
from vqvae.device import exact
from vqvae.errors import InputError
from vqvae.files import write_whole
from vqvae.metrics import psnr, ssim
from vqvae.pictures import Pair, write_pair

TABLE = "scores.csv"


@dataclass(frozen=True)
class Job:
    """A scan to reconstruct."""

    source: Path
    target: Path
    picture: Path


@dataclass(frozen=True)
class Reconstructed:
    """What became of one scan."""

    source: str
    target: str
    ssim: float
    psnr: float
    bits_per_pixel: float


@dataclass(frozen=True)
class Failed:
    """A scan that could not be reconstructed, and why: a line that names it."""

    reason: str


def plan(inputs: Iterable[Path], out: Path) -> list[Job]:
    """What to read and where to write: a file goes into `out`, a folder's tree below it.

    Raises:
        InputError: an input is not there or not NIfTI, a folder holds no scan, two inputs would
            be written to one file, or an input would be overwritten.
    """
    found = [pair for given in inputs for pair in _pairs(given, out)]
    taken: dict[Path, Path] = {}
    for source, target in found:
        if target.resolve() == source.resolve():
            raise InputError(f"{source}: --out {out} would overwrite it")
        other = taken.setdefault(target, source)
        if other is not source:
            raise InputError(f"{source} and {other} would both be written to {target}")
    stems = Counter(target.with_name(_stem(target)) for target in taken)
    return [Job(source, target, _picture(target, stems)) for source, target in found]


def reconstruct(codec: Codec, jobs: Sequence[Job]) -> Iterator[Reconstructed | Failed]:
    """Reconstruct one scan after another, with a picture beside each, on the codec's device.

    One that cannot be read does not keep the others from being done.
    """
    for job in jobs:
        try:
            yield _reconstruct(codec, job)
        except InputError as error:
            yield Failed(str(error))


def _reconstruct(codec: Codec, job: Job) -> Reconstructed:
    scan = read_slice(job.source, SMALLEST_SIDE)
    scaled, window = intensity.scale(scan.pixels)
    made, codes, similarity = _run(codec, scaled)
    write_slice(job.target, intensity.restore(made, window), like=scan)
    write_pair(job.picture, Pair(_stem(job.target), scaled, made, similarity))
    return Reconstructed(
        source=str(job.source),
        target=str(job.target),
        ssim=similarity,
        psnr=float(psnr(_batch(scaled), _batch(made))),
        bits_per_pixel=bits_per_pixel(codec, codes, scaled.size),
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


@exact()
@torch.inference_mode()
def _run(codec: Codec, scaled: NDArray[np.float32]) -> tuple[NDArray[np.float32], int, float]:
    """One image in [0, 1]: its reconstruction, how many codes it took, and its SSIM."""
    original = _batch(scaled).to(codec.device)
    indices = codec.encode(original)
    made = codec.decode(indices, *scaled.shape)
    return made[0, 0].cpu().numpy(), indices.numel(), float(ssim(original, made))


def _batch(image: NDArray[np.float32]) -> Tensor:
    return torch.from_numpy(image.copy())[None, None]


def _pairs(given: Path, out: Path) -> list[tuple[Path, Path]]:
    """Sources and their targets."""
    # Some unzippers leave a folder X.nii that holds X.nii: that is one scan, not a folder of them.
    if is_nifti_name(given.name) and given.exists():
        return [(given, out / given.name)]
    if given.is_file():
        raise InputError(f"{given}: not a scan; its name should end in {' or '.join(SUFFIXES)}")
    if not given.is_dir():
        raise InputError(f"{given}: no such file or folder")
    found = sorted(path for path in given.rglob("*") if _is_scan(path))
    if given.resolve() in out.resolve().parents:
        # What an earlier command left there is not to be reconstructed again.
        found = [path for path in found if out.resolve() not in path.resolve().parents]
    if not found:
        raise InputError(f"{given}: no file in it ends in {' or '.join(SUFFIXES)}")
    return [(path, out / path.relative_to(given)) for path in found]


def _is_scan(path: Path) -> bool:
    return is_nifti_name(path.name) and not is_nifti_name(path.parent.name)


def _stem(path: Path) -> str:
    return path.name.removesuffix(".gz").removesuffix(".nii")


def _picture(target: Path, stems: Counter[Path]) -> Path:
    """`scan.png`, or `scan.nii.png` and `scan.nii.gz.png` where there are both."""
    alone = stems[target.with_name(_stem(target))] == 1
    return target.with_name(f"{_stem(target) if alone else target.name}.png")
