"""Slices beside their reconstructions by a model, with the SSIM of each."""

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
    """What a model made of one slice."""

    pixels: NDArray[np.float32]
    """[H, W] in [0, 1]."""
    codes: int
    """How many codes it took."""
    ssim: float
    psnr: float
    """In dB."""


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
        found = reconstruct_slice(codec, original)
        name = group.names[at]
        title = f"case {name.case:03d}\nweek {name.week} slice {name.slice}"
        pairs.append(Pair(title, original, found.pixels, found.ssim))
    return pairs


def reconstruct_slice(codec: Codec, original: NDArray[np.float32]) -> ReconstructedSlice:
    """Encode and decode one image, float32 [H, W] in [0, 1].

    Raises:
        InputError: it is too small for SSIM.
    """
    indices = encode(codec, original)
    made = decode(codec, indices, *original.shape)
    both = _to_batch(original), _to_batch(made)
    return ReconstructedSlice(made, indices.size, float(ssim(*both)), float(psnr(*both)))


def _to_batch(image: NDArray[np.float32]) -> Tensor:
    """[H, W] to [1, 1, H, W]."""
    return torch.from_numpy(image.copy())[None, None]
