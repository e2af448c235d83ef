"""The reconstruction loss: the error of the pixels, and 1 - SSIM.

The error of the pixels is divided by that of predicting the mean of the training images. Predicting
this mean thus costs 1, plus `ssim_weight` times nearly 1. Without the scale, the contrast of a data
set would change the relative weight of beta.
"""

from functools import lru_cache

import torch
from torch import Tensor

from vqvae.config import ModelConfig

_WINDOW, _SIGMA = 11, 1.5
_C1, _C2 = 0.01**2, 0.03**2


def reconstruction_loss(
    config: ModelConfig, reconstructed: Tensor, images: Tensor, scale: Tensor
) -> Tensor:
    """The reconstruction loss of a batch, a scalar.

    Args:
        config: names the error of the pixels, and the weight of 1 - SSIM.
        reconstructed: the decoder's output, float32 [B, 1, H, W].
        images: [B, 1, H, W] in [0, 1].
        scale: what the error of the pixels is divided by, a scalar; see
            `reconstruction_scale_of`.
    """
    loss = _mean_error(config, reconstructed, images) / scale
    if config.ssim_weight and min(images.shape[-2:]) >= _WINDOW:
        loss = loss + config.ssim_weight * (1 - mean_ssim(images, reconstructed))
    return loss


def reconstruction_scale_of(config: ModelConfig, images: Tensor) -> Tensor:
    """The error of predicting the mean of `images` for every pixel, a scalar of at least 1e-6.

    That is the variance of the training images for `mse`, and their mean absolute deviation for
    `l1`.

    Args:
        config: names the error.
        images: the pixels of the training images, of any shape.
    """
    return _mean_error(config, images.mean(), images).clamp(min=1e-6)


def mean_ssim(originals: Tensor, reconstructed: Tensor) -> Tensor:
    """The mean SSIM of images [B, 1, H, W], a scalar with a gradient.

    The window and the constants are those of the main protocol (`vqvae.evaluation.metrics`). Only
    windows inside the image count, because padding would cost time and adds nothing to a loss.
    """
    x, y = originals.squeeze(1), reconstructed.squeeze(1)
    height, width = x.shape[-2:]
    rows, columns = (_blur_matrix(side, x.device).to(x.dtype) for side in (height, width))
    moments = rows @ torch.stack([x, y, x * x, y * y, x * y]) @ columns.T
    mean_x, mean_y, square_x, square_y, product = moments
    covariance = product - mean_x * mean_y
    variances = square_x - mean_x**2 + square_y - mean_y**2
    likeness = (2 * mean_x * mean_y + _C1) * (2 * covariance + _C2)
    size = (mean_x**2 + mean_y**2 + _C1) * (variances + _C2)
    return torch.mean(likeness / size)


@lru_cache(maxsize=16)
def _blur_matrix(side: int, device: torch.device) -> Tensor:
    """The Gaussian window along one axis as a matrix, [side - 10, side].

    Two products with such a matrix take less time than a convolution of one channel.
    """
    offsets = torch.arange(_WINDOW) - (_WINDOW - 1) / 2
    weights = torch.exp(-(offsets**2) / (2 * _SIGMA**2))
    weights = weights / weights.sum()
    matrix = torch.zeros(side - _WINDOW + 1, side)
    for row in range(len(matrix)):
        matrix[row, row : row + _WINDOW] = weights
    return matrix.to(device)


def _mean_error(config: ModelConfig, reconstructed: Tensor, images: Tensor) -> Tensor:
    match config.reconstruction_loss:
        case "l1":
            return (reconstructed - images).abs().mean()
        case "mse":
            return (reconstructed - images).square().mean()
