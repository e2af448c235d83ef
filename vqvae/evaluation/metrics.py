"""Metrics of reconstructions and of the use of a codebook.

All image metrics take originals and reconstructions, [N, 1, H, W] each, and return one score per
image, [N].

SSIM is that of Wang, Bovik, Sheikh and Simoncelli 2004 (doi 10.1109/TIP.2003.819861, eq. 13) with
the constants 0.01 and 0.03. The main protocol is: images in [0, 1], data range 1, a Gaussian window
of 11 x 11 pixels with sigma 1.5 around every pixel, images padded by reflection (as torchmetrics
does; scikit-image leaves the edges out). Other conventions are available too, because other reports
use them, and the same images score differently under each.

SSIM with a uniform window is computed here. Most reports use scikit-image's defaults for it, an
unbiased covariance and no edges, which torchmetrics does not offer.
"""

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 - the name the field gives it
from torchmetrics.functional.image import structural_similarity_index_measure

from vqvae.errors import InputError

_WINDOW, _SIGMA = 11, 1.5
_BOX = 7
_FLOOR = 1e-10


def ssim(originals: Tensor, reconstructed: Tensor) -> Tensor:
    """SSIM by the main protocol: [N, 1, H, W] twice to [N].

    Raises:
        InputError: a side has fewer than 11 pixels.
    """
    return ssim_map(originals, reconstructed).mean((1, 2, 3))


def ssim_inside(originals: Tensor, reconstructed: Tensor, mask: Tensor) -> Tensor:
    """SSIM by the main protocol, averaged over the pixels in `mask` [N, 1, H, W]: [N].

    It is NaN for an image with an empty mask.
    """
    return mean_inside(ssim_map(originals, reconstructed), mask)


def mean_inside(values: Tensor, mask: Tensor) -> Tensor:
    """The mean of `values` [N, 1, H, W] over the pixels in `mask`: [N]; NaN for an empty mask."""
    weights = mask.to(values.dtype)
    return (values * weights).sum((1, 2, 3)) / weights.sum((1, 2, 3))


def ssim_uniform(originals: Tensor, reconstructed: Tensor) -> Tensor:
    """SSIM with a uniform 7 x 7 window and the range of each original, as in most reports.

    Covariances are unbiased, and only windows that lie completely inside the image count: these are
    scikit-image's defaults, which most reports use.
    """
    low = originals.amin((1, 2, 3), keepdim=True)
    extent = (originals.amax((1, 2, 3), keepdim=True) - low).clamp(min=_FLOOR)
    x, y = (originals - low) / extent, (reconstructed - low) / extent
    moments = _box(torch.cat([x, y, x * x, y * y, x * y]).float())
    mean_x, mean_y, square_x, square_y, product = moments.chunk(5)
    unbiased = _BOX**2 / (_BOX**2 - 1)
    variances = unbiased * ((square_x - mean_x**2) + (square_y - mean_y**2)).clamp(min=0)
    covariance = unbiased * (product - mean_x * mean_y)
    c1, c2 = 0.01**2, 0.03**2
    values = ((2 * mean_x * mean_y + c1) * (2 * covariance + c2)) / (
        (mean_x**2 + mean_y**2 + c1) * (variances + c2)
    )
    return values.mean((1, 2, 3))


def ssim_zscore(originals: Tensor, reconstructed: Tensor) -> Tensor:
    """SSIM of z-scored images: both are scaled by the original's mean and standard deviation.

    The data range stays 1, as in the reports that use this convention.
    """
    mean = originals.mean((1, 2, 3), keepdim=True)
    deviation = originals.std((1, 2, 3), keepdim=True, correction=0).clamp(min=_FLOOR)
    values = ssim_map((originals - mean) / deviation, (reconstructed - mean) / deviation)
    return values.mean((1, 2, 3))


def psnr(originals: Tensor, reconstructed: Tensor) -> Tensor:
    """PSNR = 10 log10(1 / MSE) in dB, for data range 1; at most 100, the value of equal images."""
    return _decibels((originals - reconstructed).square().mean((1, 2, 3)))


def psnr_inside(originals: Tensor, reconstructed: Tensor, mask: Tensor) -> Tensor:
    """PSNR over the pixels in `mask` [N, 1, H, W]; NaN for an empty mask."""
    return _decibels(mean_inside((originals - reconstructed).square(), mask))


def nmse(originals: Tensor, reconstructed: Tensor) -> Tensor:
    """NMSE = |x - y|^2 / |x|^2, x the original; NaN for an original that is 0 everywhere."""
    energy = originals.square().sum((1, 2, 3))
    ratio = (originals - reconstructed).square().sum((1, 2, 3)) / energy
    return torch.where(energy > 0, ratio, torch.nan)


def perplexity(counts: Tensor) -> float:
    """The perplexity of code use, exp(-sum p_k log p_k) with p_k the share of code k.

    It is 1 if a single code is used, and K if all codes are used equally often. For few vectors it
    grows with their number, so `counts` [K] should be those of a whole split.
    """
    shares = counts.double() / counts.sum().clamp(min=1)
    return float(torch.exp(-torch.special.xlogy(shares, shares).sum()))


def codebook_usage(counts: Tensor) -> float:
    """The share of codes that were used at least once, 0 to 1: `counts` [K]."""
    return float((counts > 0).double().mean())


def ssim_map(originals: Tensor, reconstructed: Tensor) -> Tensor:
    """The SSIM around each pixel by the main protocol: [N, 1, H, W] twice to [N, 1, H, W].

    Raises:
        InputError: a side has fewer than 11 pixels.
    """
    if min(originals.shape[-2:]) < _WINDOW:
        size = "x".join(map(str, originals.shape[-2:]))
        raise InputError(f"SSIM needs images of at least {_WINDOW} pixels a side, not {size}")
    values: Tensor
    _, values = structural_similarity_index_measure(
        reconstructed.float(),
        originals.float(),
        sigma=_SIGMA,
        kernel_size=_WINDOW,
        data_range=1.0,
        reduction="none",
        return_full_image=True,
    )
    return values


def _decibels(error: Tensor) -> Tensor:
    return -10 * error.clamp(min=_FLOOR).log10()


def _box(images: Tensor) -> Tensor:
    """The mean of each 7 x 7 window inside the image: [N, 1, H, W] to [N, 1, H - 6, W - 6]."""
    return F.avg_pool2d(images, _BOX, stride=1)
