"""Scoring a model on a split: the main protocol, and the other conventions beside it."""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage
from torch import Tensor

from vqvae.batches import open_images
from vqvae.config import Config
from vqvae.data.layout import SplitName
from vqvae.data.splits import open_split
from vqvae.device import choose_device, exact, memory_format
from vqvae.metrics import (
    nmse,
    perplexity,
    psnr,
    ssim,
    ssim_inside,
    ssim_uniform,
    ssim_zscore,
    used,
)
from vqvae.model import VQVAE
from vqvae.quantizer import usage

_DRAWS = 2000
_AT_ONCE = 16


@dataclass(frozen=True)
class Interval:
    """Where 95 of 100 means lie, if other patients had been drawn."""

    low: float
    high: float


@dataclass(frozen=True)
class Evaluation:
    """How a model does on a split."""

    split: SplitName
    slices: int
    scores: dict[str, float]
    """Means over slices, by name; `ssim` is the main protocol's."""
    interval: Interval | None
    """Of `ssim`; None where one patient is all there is."""
    patients: dict[int, float]
    """`ssim` of each patient, by case number: slices of one patient are not independent."""

    def plain(self) -> dict[str, Any]:
        """Numbers, strings and dicts alone, for JSON; a score that is no number is null."""
        scores = {
            name: value if math.isfinite(value) else None for name, value in self.scores.items()
        }
        return asdict(self) | {"scores": scores}


@exact()
@torch.inference_mode()
def evaluate(model: VQVAE, config: Config, split: SplitName, device: str = "auto") -> Evaluation:
    """Score `model` on every slice of a split, at its native size, in float32.

    Raises:
        InputError: the data cannot be read, or the device is not there.
    """
    place = choose_device(device)
    opened = open_split(config.data, split)
    images = open_images(opened, place, memory_format(place, "float32"))
    model = model.to(place).eval()
    counts = torch.zeros(model.config.codebook_size, dtype=torch.int64, device=place)
    columns: dict[str, list[float]] = {}
    codes = pixels = 0
    for originals in images.in_order(_AT_ONCE):
        made, indices = model(originals)
        counts += usage(indices, len(counts))
        codes, pixels = codes + indices.numel(), pixels + originals.numel()
        for name, figures in score(originals, made).items():
            columns.setdefault(name, []).extend(figures.tolist())
    # A slice without a body, or without any signal, has no figure in two of the columns.
    scores = {name: float(np.nanmean(figures)) for name, figures in columns.items()}
    scores |= {
        "bits_per_pixel": bits_per_pixel(model, codes, pixels),
        "perplexity": perplexity(counts),
        "codebook_usage": used(counts),
    }
    cases = [name.patient for group in opened.groups for name in group.names]
    by_patient = _by_patient(columns["ssim"], cases)
    return Evaluation(
        split=split,
        slices=len(opened),
        scores=scores,
        interval=bootstrap(list(by_patient.values())),
        patients={case: float(np.mean(values)) for case, values in by_patient.items()},
    )


def score(originals: Tensor, made: Tensor) -> dict[str, Tensor]:
    """All image metrics of a batch: [N, 1, H, W] twice to [N] by name."""
    return {
        "ssim": ssim(originals, made),
        "ssim_body": ssim_inside(originals, made, body(originals)),
        "ssim_uniform7": ssim_uniform(originals, made),
        "ssim_zscore": ssim_zscore(originals, made),
        "psnr": psnr(originals, made),
        "nmse": nmse(originals, made),
    }


def bits_per_pixel(model: VQVAE, codes: int, pixels: int) -> float:
    """log2 K for each code, shared out among the pixels."""
    return math.log2(model.config.codebook_size) * codes / pixels


def body(images: Tensor) -> Tensor:
    """Where the body is: [N, 1, H, W] to bool of that shape.

    The largest connected region that, blurred over 7 x 7 pixels, is brighter than half the
    image's mean; holes count as inside. Air scores high whatever a model does, and its share
    differs from slice to slice.
    """
    masks = [_body(image[0]) for image in images.cpu().numpy()]
    return torch.from_numpy(np.stack(masks))[:, None].to(images.device)


def bootstrap(patients: Sequence[NDArray[np.float64]], seed: int = 0) -> Interval | None:
    """The 95 % interval of the mean over slices when patients are drawn with replacement.

    Args:
        patients: the figures of each patient's slices.
        seed: of the drawing; the same figures give the same interval.
    """
    if len(patients) < 2:
        return None
    totals = np.array([values.sum() for values in patients])
    sizes = np.array([len(values) for values in patients])
    drawn = np.random.default_rng(seed).integers(len(patients), size=(_DRAWS, len(patients)))
    means = totals[drawn].sum(1) / sizes[drawn].sum(1)
    low, high = np.quantile(means, [0.025, 0.975])
    return Interval(float(low), float(high))


def _by_patient(figures: list[float], cases: list[int]) -> dict[int, NDArray[np.float64]]:
    values, owners = np.array(figures), np.array(cases)
    return {int(case): values[owners == case] for case in np.unique(owners)}


def _body(image: NDArray[np.float32]) -> NDArray[np.bool_]:
    bright = ndimage.uniform_filter(image, 7) > image.mean() / 2
    regions, number = ndimage.label(bright)
    if number == 0:
        return np.zeros(image.shape, bool)
    largest = 1 + int(np.argmax(np.bincount(regions.ravel())[1:]))
    return np.asarray(ndimage.binary_fill_holes(regions == largest), bool)
