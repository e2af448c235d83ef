"""What encodes images into codes and decodes them again, whatever it was loaded from."""

import math
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vqvae.device import full_precision


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


@full_precision()
@torch.inference_mode()
def encode(codec: Codec, scaled: NDArray[np.float32]) -> NDArray[np.int64]:
    """One slice [H, W] in [0, 1] to its codes [h, w].

    Slices go through a model one at a time here and in `decode`: what a slice becomes does not
    depend on which others came with it, in which file.
    """
    images = torch.from_numpy(np.array(scaled, order="C"))[None, None].to(codec.device)
    return np.asarray(codec.encode(images)[0].cpu().numpy(), np.int64)


@full_precision()
@torch.inference_mode()
def decode(
    codec: Codec, indices: NDArray[np.int64], height: int, width: int
) -> NDArray[np.float32]:
    """The codes [h, w] of one slice to the slice [height, width] in [0, 1]."""
    codes = torch.from_numpy(np.array(indices, order="C"))[None].to(codec.device)
    return np.asarray(codec.decode(codes, height, width)[0, 0].cpu().numpy(), np.float32)
