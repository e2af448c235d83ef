"""Regions of a slice that are scored separately: the body, and organs that are segmented."""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage
from torch import Tensor

from vqvae.data.segmentations import ORGANS

BODY = "body"


def regions(originals: Tensor, labels: Sequence[NDArray[np.uint8] | None]) -> dict[str, Tensor]:
    """Masks of the body and the organs, bool [N, 1, H, W] each, by name.

    Args:
        originals: [N, 1, H, W] in [0, 1].
        labels: the segmentation [H, W] of each image. If it is None, the organ masks of that image
            are empty.
    """
    blank = np.zeros(originals.shape[-2:], np.uint8)
    segmented = np.stack([blank if values is None else values for values in labels])[:, None]
    organs = {
        name: torch.from_numpy(segmented == label).to(originals.device)
        for name, label in ORGANS.items()
    }
    return {BODY: body(originals), **organs}


def body(images: Tensor) -> Tensor:
    """A mask of the body: images [N, 1, H, W] to bool of the same shape.

    The body is the largest connected region that, after a 7 x 7 mean filter, is brighter than half
    the mean of the image, with its holes filled. The body is scored separately because air gets a
    high score from any model, and the share of air differs from slice to slice.
    """
    masks = [_body(image[0]) for image in images.cpu().numpy()]
    return torch.from_numpy(np.stack(masks))[:, None].to(images.device)


def _body(image: NDArray[np.float32]) -> NDArray[np.bool_]:
    bright = ndimage.uniform_filter(image, 7) > image.mean() / 2
    regions, number = ndimage.label(bright)
    if number == 0:
        return np.zeros(image.shape, bool)
    largest = 1 + int(np.argmax(np.bincount(regions.ravel())[1:]))
    return np.asarray(ndimage.binary_fill_holes(regions == largest), bool)
