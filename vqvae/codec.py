"""What encodes images into codes and decodes them again, whatever it was loaded from."""

import math
from typing import Protocol

import torch
from torch import Tensor


class Codec(Protocol):
    """A model in use: a trained one (`VQVAE`) or a package (`Package`)."""

    @property
    def identity(self) -> str:
        """Hex SHA-256 of what decides its numbers. Codes mean something to their model alone."""

    @property
    def codebook_size(self) -> int:
        """K."""

    @property
    def stride(self) -> int:
        """One code stands for `stride` x `stride` pixels."""

    @property
    def device(self) -> torch.device:
        """Where it computes, and where its input is to be."""

    def encode(self, images: Tensor) -> Tensor:
        """[B, 1, H, W] in [0, 1] to codes [B, ceil(H / stride), ceil(W / stride)], int64."""

    def decode(self, indices: Tensor, height: int, width: int) -> Tensor:
        """Codes [B, h, w] to images [B, 1, height, width] in [0, 1]."""


def bits_per_pixel(codec: Codec, codes: int, pixels: int) -> float:
    """log2 K for each code, shared out among the pixels."""
    return math.log2(codec.codebook_size) * codes / pixels
