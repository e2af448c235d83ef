"""Slices with their reconstructions by a model, and the SSIM of each."""

from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vqvae.data.batches import open_images
from vqvae.data.splits import Split
from vqvae.device import full_precision, memory_format
from vqvae.evaluation.figures import Pair
from vqvae.evaluation.metrics import psnr, ssim
from vqvae.model.codec import Codec, decode, encode

MOST_SCORED = 1000
"""So many slices are scored to find the best and the worst ones, at most: of 256 x 128 pixels, this
takes half a minute on two cores, and 10,000 would take six."""
_BATCH_SIZE = 16


@dataclass(frozen=True)
class ReconstructedSlice:
    """The reconstruction of one slice."""

    pixels: NDArray[np.float32]
    """[H, W] in [0, 1]."""
    codes: int
    """The number of codes."""
    ssim: float
    """By the main protocol; see `vqvae.evaluation.metrics`."""
    psnr: float
    """In dB."""


def best_and_worst(codec: Codec, split: Split, number: int) -> tuple[list[Pair], int]:
    """The slices of a split with the highest and the lowest SSIM, reconstructed.

    Of a split with more than `MOST_SCORED` slices, only so many evenly spaced ones are scored
    (always the same), so that the end of a trial takes seconds on a large split, too.

    Args:
        codec: the model.
        split: the slices.
        number: how many of the best, and how many of the worst; fewer if the split is small.

    Returns:
        The best, the best one first, then the worst, the worst one last; and the number of slices
        that were scored.

    Raises:
        InputError: an image is too small for SSIM.
    """
    total = len(split)
    positions = np.linspace(0, total - 1, min(total, MOST_SCORED)).round().astype(np.int64)
    order = positions[np.argsort(-ssim_at(codec, split, positions), kind="stable")]
    best = min(number, -(-len(order) // 2))
    worst = min(number, len(order) - best)
    pairs = pairs_at(codec, split, [*order[:best], *order[len(order) - worst :]])
    kinds = ["best"] * best + ["worst"] * worst
    titled = [
        replace(pair, title=f"{kind}: {pair.title}")
        for kind, pair in zip(kinds, pairs, strict=True)
    ]
    return titled, len(order)


def middle_slice(split: Split) -> int:
    """The position in a split of the middle slice of its first volume, the same for every model."""
    volumes = [(name.case, name.week) for name in split.groups[0].names]
    return volumes.count(volumes[0]) // 2  # the names are sorted


@full_precision()
@torch.inference_mode()
def ssim_at(codec: Codec, split: Split, positions: NDArray[np.int64]) -> NDArray[np.float64]:
    """The SSIM of the slices at ascending positions of a split (group after group).

    Raises:
        InputError: an image is too small for SSIM.
    """
    layout = memory_format(codec.device, "float32")
    images = open_images(split, codec.device, layout, spare_memory=True)
    scores, first = [], 0
    for at, group in enumerate(split.groups):
        end = first + len(group.names)
        inside = positions[(positions >= first) & (positions < end)] - first
        for chosen in torch.split(torch.from_numpy(inside), _BATCH_SIZE):
            originals = images.select(at, chosen)
            made = codec.decode(codec.encode(originals), *originals.shape[-2:])
            scores.append(ssim(originals, made).double().cpu())
        first = end
    return np.asarray(torch.cat(scores).numpy(), np.float64)


def pairs_at(codec: Codec, split: Split, positions: Iterable[int]) -> list[Pair]:
    """The slices at the given positions of a split (group after group), reconstructed."""
    slices = [(group, at) for group in split.groups for at in range(len(group.names))]
    pairs = []
    for group, at in (slices[position] for position in positions):
        original = group.images[at].astype(np.float32) / np.float32(65535)
        found = reconstruct_slice(codec, original)
        name = group.names[at]
        title = f"case {name.case:03d}\nweek {name.week} slice {name.slice}"
        pairs.append(Pair(title, original, found.pixels, found.ssim))
    return pairs


def reconstruct_slice(codec: Codec, original: NDArray[np.float32]) -> ReconstructedSlice:
    """Encode and decode one image, float32 [H, W] in [0, 1].

    Raises:
        InputError: the image is too small for SSIM.
    """
    indices = encode(codec, original)
    reconstructed = decode(codec, indices, *original.shape)
    pair = _to_batch(original), _to_batch(reconstructed)
    return ReconstructedSlice(reconstructed, indices.size, float(ssim(*pair)), float(psnr(*pair)))


def _to_batch(image: NDArray[np.float32]) -> Tensor:
    """[H, W] to [1, 1, H, W]."""
    return torch.from_numpy(image.copy())[None, None]
