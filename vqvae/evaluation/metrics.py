"""How near a reconstruction is to its original, and how much of a codebook is used.

All image metrics take originals and reconstructions [N, 1, H, W] and give one figure an image,
[N]. The main protocol: images in [0, 1], data range 1, Gaussian window of 11 pixels with sigma
1.5 around every pixel, images continued beyond their edges by reflection (as torchmetrics does;
scikit-image leaves the edges out). SSIM is that of Wang, Bovik, Sheikh and Simoncelli 2004
(doi 10.1109/TIP.2003.819861, eq. 13), constants 0.01 and 0.03. The conventions that other reports
use stand beside it, because the same images score differently under each.

Only the uniform window is computed here: most reports take scikit-image's defaults, an unbiased
covariance and no edges, which torchmetrics does not offer.
"""

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 - the name the field gives it
from torchmetrics.functional.image import structural_similarity_index_measure

from vqvae.errors import InputError

_WINDOW, _SIGMA = 11, 1.5
_BOX = 7
_FLOOR = 1e-10


def ssim(originals: Tensor, made: Tensor) -> Tensor:
    """SSIM by the main protocol."""
    return ssim_map(originals, made).mean((1, 2, 3))


def ssim_inside(originals: Tensor, made: Tensor, inside: Tensor) -> Tensor:
    """SSIM by the main protocol, over the pixels that `inside` [N, 1, H, W] marks.

    An image without such a pixel gets NaN.
    """
    return mean_inside(ssim_map(originals, made), inside)


def mean_inside(values: Tensor, inside: Tensor) -> Tensor:
    """The mean of `values` [N, 1, H, W] over the pixels that `inside` marks, [N]; NaN for none."""
    weights = inside.to(values.dtype)
    return (values * weights).sum((1, 2, 3)) / weights.sum((1, 2, 3))


def ssim_uniform(originals: Tensor, made: Tensor) -> Tensor:
    """SSIM with a uniform 7x7 window and each original's own range, as most reports have it.

    Covariances are unbiased and windows lie wholly inside the image, which are scikit-image's
    defaults and therefore theirs.
    """
    low = originals.amin((1, 2, 3), keepdim=True)
    extent = (originals.amax((1, 2, 3), keepdim=True) - low).clamp(min=_FLOOR)
    x, y = (originals - low) / extent, (made - low) / extent
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


def ssim_zscore(originals: Tensor, made: Tensor) -> Tensor:
    """SSIM of images brought to the original's mean 0 and deviation 1, data range still 1."""
    mean = originals.mean((1, 2, 3), keepdim=True)
    deviation = originals.std((1, 2, 3), keepdim=True, correction=0).clamp(min=_FLOOR)
    values = ssim_map((originals - mean) / deviation, (made - mean) / deviation)
    return values.mean((1, 2, 3))


def psnr(originals: Tensor, made: Tensor) -> Tensor:
    """10 log10(1 / MSE) in dB, data range 1; at most 100, which two equal images get."""
    return _decibels((originals - made).square().mean((1, 2, 3)))


def psnr_inside(originals: Tensor, made: Tensor, inside: Tensor) -> Tensor:
    """PSNR over the pixels that `inside` [N, 1, H, W] marks; NaN for an image without any."""
    return _decibels(mean_inside((originals - made).square(), inside))


def nmse(originals: Tensor, made: Tensor) -> Tensor:
    """|x - y|^2 / |x|^2; NaN for an original that is 0 everywhere."""
    energy = originals.square().sum((1, 2, 3))
    ratio = (originals - made).square().sum((1, 2, 3)) / energy
    return torch.where(energy > 0, ratio, torch.nan)


def perplexity(counts: Tensor) -> float:
    """exp(entropy) of code use: from 1 (one code does all) to K (all codes alike).

    It grows with the number of vectors counted, so count a whole split: `counts` [K].
    """
    shares = counts.double() / counts.sum().clamp(min=1)
    return float(torch.exp(-torch.special.xlogy(shares, shares).sum()))


def codebook_usage(counts: Tensor) -> float:
    """The share of codes that were chosen at all: `counts` [K]."""
    return float((counts > 0).double().mean())


def ssim_map(originals: Tensor, made: Tensor) -> Tensor:
    """[N, 1, H, W] twice to the SSIM around each pixel, [N, 1, H, W], by the main protocol."""
    if min(originals.shape[-2:]) < _WINDOW:
        size = "x".join(map(str, originals.shape[-2:]))
        raise InputError(f"SSIM needs images of at least {_WINDOW} pixels a side, not {size}")
    values: Tensor
    _, values = structural_similarity_index_measure(
        made.float(),
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
    """The mean of each window that lies wholly inside: [N, 1, H, W] to [N, 1, H - 6, W - 6]."""
    return F.avg_pool2d(images, _BOX, stride=1)
