"""Slices with their reconstructions by a model, and the SSIM of each."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vqvae.data.splits import Split
from vqvae.evaluation.figures import Pair
from vqvae.evaluation.metrics import psnr, ssim
from vqvae.model.codec import Codec, decode, encode


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


def compare(codec: Codec, split: Split, number: int) -> list[Pair]:
    """At most `number` evenly spaced slices of a split (always the same), reconstructed."""
    total = len(split)
    chosen = np.linspace(0, total - 1, min(number, total) + 2).round().astype(int)
    return pairs_at(codec, split, chosen[1:-1] if total > number else range(total))


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
