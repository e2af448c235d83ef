"""Scoring a model on a split: the main protocol, and the other conventions beside it."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import islice
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vqvae.config import Config
from vqvae.data.batches import open_images
from vqvae.data.layout import ORGANS, SliceName, SplitName, find_base, list_labels, read_labels
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
_AT_ONCE = 16

Labels = NDArray[np.uint8] | None


@dataclass(frozen=True)
class Interval:
    """Where 95 of 100 means lie, if other patients had been drawn."""

    low: float
    high: float


@dataclass(frozen=True)
class Row:
    """How a model does on one slice."""

    name: SliceName
    segmented: bool
    scores: Mapping[str, float]
    """By name; NaN where the slice has none (no body, no such organ)."""


@dataclass(frozen=True)
class Evaluation:
    """How a model does on a split."""

    split: SplitName
    slices: int
    segmented: int
    """Slices with a segmentation that can be read; organs are scored on them alone."""
    scores: dict[str, float]
    """Means over slices, by name, and what is counted over the split; `ssim` is the main
    protocol's."""
    intervals: dict[str, Interval]
    """Of means over slices; empty where one patient is all there is."""
    patients: dict[int, dict[str, float]]
    """Means over each patient's slices, by case number: they are not independent."""
    rows: tuple[Row, ...]
    """A slice each, in the split's order."""

    def plain(self) -> dict[str, Any]:
        """Numbers, strings and dicts alone, for JSON; a score that is no number is null."""
        return {
            "split": self.split,
            "slices": self.slices,
            "segmented": self.segmented,
            "scores": _without_nan(self.scores),
            "intervals": {name: asdict(ends) for name, ends in self.intervals.items()},
            "patients": {case: _without_nan(scores) for case, scores in self.patients.items()},
        }


@full_precision()
@torch.inference_mode()
def evaluate(codec: Codec, config: Config, split: SplitName) -> Evaluation:
    """Score `codec` on every slice of a split, at its native size, in float32, on its device.

    Raises:
        InputError: the data cannot be read, or a segmentation has another size than its slice.
    """
    opened = open_split(config.data, split)
    images = open_images(opened, codec.device, memory_format(codec.device, "float32"))
    names = (name for group in opened.groups for name in group.names)
    labels = _labels(config, opened)
    counts = torch.zeros(codec.codebook_size, dtype=torch.int64, device=codec.device)
    rows: list[Row] = []
    codes = pixels = 0
    for originals in images.in_order(_AT_ONCE):
        indices = codec.encode(originals)
        made = codec.decode(indices, *originals.shape[-2:])
        counts += code_counts(indices, len(counts))
        codes, pixels = codes + indices.numel(), pixels + originals.numel()
        segmented = list(islice(labels, len(originals)))
        columns = score(originals, made, regions(originals, segmented))
        rows += _rows(list(islice(names, len(originals))), segmented, columns)
    over_split = {
        "bits_per_pixel": bits_per_pixel(codec, codes, pixels),
        "perplexity": perplexity(counts),
        "codebook_usage": codebook_usage(counts),
    }
    return _summary(split, rows, over_split)


def score(originals: Tensor, made: Tensor, inside: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """All image metrics of a batch: [N, 1, H, W] twice to [N] by name.

    Args:
        originals: the images.
        made: their reconstructions.
        inside: masks [N, 1, H, W] of regions to be scored by themselves, by name.
    """
    similarity = ssim_map(originals, made)
    scores = {
        "ssim": similarity.mean((1, 2, 3)),
        "ssim_uniform7": ssim_uniform(originals, made),
        "ssim_zscore": ssim_zscore(originals, made),
        "psnr": psnr(originals, made),
        "nmse": nmse(originals, made),
    }
    for name, mask in inside.items():
        scores[f"ssim_{name}"] = mean_inside(similarity, mask)
        if name != BODY:
            scores[f"psnr_{name}"] = psnr_inside(originals, made, mask)
    return scores


def bootstrap(patients: Sequence[NDArray[np.float64]], seed: int = 0) -> Interval | None:
    """The 95 % interval of the mean over slices when patients are sampled with replacement.

    Args:
        patients: the figures of each patient's slices.
        seed: of the samples; the same figures give the same interval.
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


def _labels(config: Config, opened: Split) -> Iterator[Labels]:
    """The segmentation of each slice, in the split's order, where there is one."""
    found = list_labels(find_base(config.data.root), opened.name)
    for group in opened.groups:
        for name in group.names:
            path = found.get(name)
            yield None if path is None else read_labels(path, group.images.shape[1:])


def _rows(
    names: Sequence[SliceName], labels: Sequence[Labels], columns: Mapping[str, Tensor]
) -> list[Row]:
    figures = {name: values.tolist() for name, values in columns.items()}
    return [
        Row(name, labels[at] is not None, {key: values[at] for key, values in figures.items()})
        for at, name in enumerate(names)
    ]


def _summary(split: SplitName, rows: Sequence[Row], over_split: dict[str, float]) -> Evaluation:
    cases = sorted({row.name.patient for row in rows})
    of_patient = {case: [row for row in rows if row.name.patient == case] for case in cases}
    intervals = {}
    names = [name for name in rows[0].scores if _figures(rows, name).size or not _of_organ(name)]
    for name in names:
        figures = [_figures(of_patient[case], name) for case in cases]
        found = bootstrap([values for values in figures if values.size])
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


def _figures(rows: Sequence[Row], name: str) -> NDArray[np.float64]:
    """The figures of the slices that have one."""
    values = [row.scores[name] for row in rows]
    return np.array([value for value in values if not math.isnan(value)])


def _mean(rows: Sequence[Row], name: str) -> float:
    values = _figures(rows, name)
    return float(values.mean()) if values.size else math.nan


def _of_organ(name: str) -> bool:
    return name.partition("_")[2] in ORGANS


def _without_nan(scores: Mapping[str, float]) -> dict[str, float | None]:
    return {name: value if math.isfinite(value) else None for name, value in scores.items()}
