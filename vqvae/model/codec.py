"""The interface of a model that encodes images to codes and decodes them again."""

import math
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vqvae.device import full_precision
from vqvae.model.code_prior import CodePrior


class Codec(Protocol):
    """A model for inference: a trained one (`VQVAE`) or a package (`Package`)."""

    @property
    def identity(self) -> str:
        """Hex SHA-256 of everything that determines its codes; only the same model decodes them."""

    @property
    def codebook_size(self) -> int:
        """The number K of codes."""

    @property
    def stride(self) -> int:
        """One code stands for `stride` x `stride` pixels."""

    @property
    def code_prior(self) -> CodePrior | None:
        """How likely each code is beside its neighbours; None without such statistics."""

    @property
    def device(self) -> torch.device:
        """The device that it computes on; inputs must be there."""

    def encode(self, images: Tensor) -> Tensor:
        """Images [B, 1, H, W] in [0, 1] to int64 codes [B, ceil(H / stride), ceil(W / stride)]."""

    def decode(self, indices: Tensor, height: int, width: int) -> Tensor:
        """Codes [B, h, w] to images [B, 1, height, width] in [0, 1]."""


def bits_per_pixel(codec: Codec, codes: int, pixels: int) -> float:
    """The rate of the codes: log2 K bits for each of `codes` codes, divided by `pixels`."""
    return math.log2(codec.codebook_size) * codes / pixels


@full_precision()
@torch.inference_mode()
def encode(codec: Codec, scaled: NDArray[np.float32]) -> NDArray[np.int64]:
    """Encode one slice [H, W] in [0, 1] to its codes [h, w].

    Slices go through the model one at a time, here and in `decode`, so that the result for a slice
    does not depend on which other slices are in the same file.
    """
    images = torch.from_numpy(np.array(scaled, order="C"))[None, None].to(codec.device)
    return np.asarray(codec.encode(images)[0].cpu().numpy(), np.int64)


@full_precision()
@torch.inference_mode()
def decode(
    codec: Codec, indices: NDArray[np.int64], height: int, width: int
) -> NDArray[np.float32]:
    """Decode the codes [h, w] of one slice to the slice [height, width] in [0, 1]."""
    codes = torch.from_numpy(np.array(indices, order="C"))[None].to(codec.device)
    return np.asarray(codec.decode(codes, height, width)[0, 0].cpu().numpy(), np.float32)
