"""Scoring a model on a split, by the main protocol and by other conventions."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import islice
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vqvae.config import DataConfig
from vqvae.data.batches import open_images
from vqvae.data.layout import SliceName, SplitName, find_base
from vqvae.data.segmentations import ORGANS, list_labels, read_labels
from vqvae.data.splits import Split, open_split
from vqvae.device import full_precision, memory_format
from vqvae.evaluation.metrics import (
    codebook_usage,
    mean_inside,
    nmse,
    perplexity,
    psnr,
    psnr_inside,
    ssim_map,
    ssim_uniform,
    ssim_zscore,
)
from vqvae.evaluation.regions import BODY, regions
from vqvae.model.codec import Codec, bits_per_pixel
from vqvae.model.quantizer import code_counts

_BOOTSTRAP_SAMPLES = 2000
_BATCH_SIZE = 16

Labels = NDArray[np.uint8] | None


@dataclass(frozen=True)
class Interval:
    """A 95 % bootstrap interval of a mean over slices; see `bootstrap`."""

    low: float
    high: float


@dataclass(frozen=True)
class Row:
    """The scores of one slice."""

    name: SliceName
    segmented: bool
    """Whether the slice has a segmentation that can be read."""
    scores: Mapping[str, float]
    """By name; NaN for a score that the slice does not have (no body, no such organ)."""


@dataclass(frozen=True)
class Evaluation:
    """The scores of a model on a split."""

    split: SplitName
    slices: int
    """The number of slices."""
    segmented: int
    """The number of slices with a segmentation that can be read; only they have organ scores."""
    scores: dict[str, float]
    """By name: means over slices, and bits per pixel, perplexity and codebook usage of the whole
    split. `ssim` is that of the main protocol."""
    intervals: dict[str, Interval]
    """The intervals of the means over slices; empty if there is only one patient."""
    patients: dict[int, dict[str, float]]
    """Means over the slices of each patient, by case number. Slices of one patient are not
    independent of each other."""
    rows: tuple[Row, ...]
    """One for each slice, in the order of the split."""

    def plain(self) -> dict[str, Any]:
        """The evaluation without `rows`, as dicts for JSON; a score that is not finite is null."""
        return {
            "split": self.split,
            "slices": self.slices,
            "segmented": self.segmented,
            "scores": _without_nan(self.scores),
            "intervals": {name: asdict(interval) for name, interval in self.intervals.items()},
            "patients": {case: _without_nan(scores) for case, scores in self.patients.items()},
        }


@full_precision()
@torch.inference_mode()
def evaluate(codec: Codec, data: DataConfig, split: SplitName) -> Evaluation:
    """Score a model on every slice of a split, at its native size, in float32, on its device.

    Args:
        codec: the model.
        data: where the slices are.
        split: which split.

    Raises:
        InputError: the data are not valid, or a segmentation has another size than its slice.
        UnavailableError: the data cannot be read now.
    """
    opened = open_split(data, split)
    images = open_images(opened, codec.device, memory_format(codec.device, "float32"))
    names = (name for group in opened.groups for name in group.names)
    labels = _labels(data, opened)
    counts = torch.zeros(codec.codebook_size, dtype=torch.int64, device=codec.device)
    rows: list[Row] = []
    codes = pixels = 0
    for originals in images.in_order(_BATCH_SIZE):
        indices = codec.encode(originals)
        reconstructed = codec.decode(indices, *originals.shape[-2:])
        counts += code_counts(indices, len(counts))
        codes, pixels = codes + indices.numel(), pixels + originals.numel()
        segmented = list(islice(labels, len(originals)))
        columns = score(originals, reconstructed, regions(originals, segmented))
        rows += _rows(list(islice(names, len(originals))), segmented, columns)
    over_split = {
        "bits_per_pixel": bits_per_pixel(codec, codes, pixels),
        "perplexity": perplexity(counts),
        "codebook_usage": codebook_usage(counts),
    }
    return _summary(split, rows, over_split)


def score(
    originals: Tensor, reconstructed: Tensor, masks: Mapping[str, Tensor]
) -> dict[str, Tensor]:
    """All image metrics of a batch.

    Args:
        originals: the images, [N, 1, H, W] in [0, 1].
        reconstructed: their reconstructions, of the same shape.
        masks: by name, bool [N, 1, H, W]: regions that are also scored separately.

    Returns:
        The scores by name, [N] each.
    """
    similarity = ssim_map(originals, reconstructed)
    scores = {
        "ssim": similarity.mean((1, 2, 3)),
        "ssim_uniform7": ssim_uniform(originals, reconstructed),
        "ssim_zscore": ssim_zscore(originals, reconstructed),
        "psnr": psnr(originals, reconstructed),
        "nmse": nmse(originals, reconstructed),
    }
    for name, mask in masks.items():
        scores[f"ssim_{name}"] = mean_inside(similarity, mask)
        if name != BODY:
            scores[f"psnr_{name}"] = psnr_inside(originals, reconstructed, mask)
    return scores


def bootstrap(patients: Sequence[NDArray[np.float64]], seed: int = 0) -> Interval | None:
    """The 95 % bootstrap interval of the mean over slices (percentile method).

    Patients are resampled with replacement, not slices: slices of one patient are alike.

    Args:
        patients: one array for each patient, with the scores of its slices.
        seed: of the resampling; the same scores give the same interval.

    Returns:
        The interval; None if there are fewer than two patients.
    """
    if len(patients) < 2:
        return None
    totals = np.array([values.sum() for values in patients])
    sizes = np.array([len(values) for values in patients])
    samples = np.random.default_rng(seed).integers(
        len(patients), size=(_BOOTSTRAP_SAMPLES, len(patients))
    )
    means = totals[samples].sum(1) / sizes[samples].sum(1)
    low, high = np.quantile(means, [0.025, 0.975])
    return Interval(float(low), float(high))


def _labels(data: DataConfig, opened: Split) -> Iterator[Labels]:
    """The segmentation of each slice in the order of the split; None if it has none."""
    found = list_labels(find_base(data.root), opened.name)
    for group in opened.groups:
        for name in group.names:
            path = found.get(name)
            yield None if path is None else read_labels(path, group.images.shape[1:])


def _rows(
    names: Sequence[SliceName], labels: Sequence[Labels], columns: Mapping[str, Tensor]
) -> list[Row]:
    scores = {name: values.tolist() for name, values in columns.items()}
    return [
        Row(name, labels[at] is not None, {key: values[at] for key, values in scores.items()})
        for at, name in enumerate(names)
    ]


def _summary(split: SplitName, rows: Sequence[Row], over_split: dict[str, float]) -> Evaluation:
    cases = sorted({row.name.patient for row in rows})
    of_patient = {case: [row for row in rows if row.name.patient == case] for case in cases}
    intervals = {}
    names = [name for name in rows[0].scores if _values(rows, name).size or not _is_organ(name)]
    for name in names:
        by_patient = [_values(of_patient[case], name) for case in cases]
        found = bootstrap([values for values in by_patient if values.size])
        if found is not None:
            intervals[name] = found
    return Evaluation(
        split=split,
        slices=len(rows),
        segmented=sum(row.segmented for row in rows),
        scores={name: _mean(rows, name) for name in names} | over_split,
        intervals=intervals,
        patients={case: {name: _mean(of_patient[case], name) for name in names} for case in cases},
        rows=tuple(rows),
    )


def _values(rows: Sequence[Row], name: str) -> NDArray[np.float64]:
    """A score of the slices that have it."""
    values = [row.scores[name] for row in rows]
    return np.array([value for value in values if not math.isnan(value)])


def _mean(rows: Sequence[Row], name: str) -> float:
    values = _values(rows, name)
    return float(values.mean()) if values.size else math.nan


def _is_organ(name: str) -> bool:
    """Whether a score is that of an organ."""
    return name.partition("_")[2] in ORGANS


def _without_nan(scores: Mapping[str, float]) -> dict[str, float | None]:
    return {name: value if math.isfinite(value) else None for name, value in scores.items()}
