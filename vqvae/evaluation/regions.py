"""Parts of a slice that are scored by themselves: the body, and organs where they are drawn."""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage
from torch import Tensor

from vqvae.data.layout import ORGANS

BODY = "body"


def regions(originals: Tensor, labels: Sequence[NDArray[np.uint8] | None]) -> dict[str, Tensor]:
    """Masks, bool [N, 1, H, W], by name: the body's, and the organs' by their labels.

    Args:
        originals: [N, 1, H, W].
        labels: each image's segmentation [H, W]; for one that has none, its organs are empty.
    """
    blank = np.zeros(originals.shape[-2:], np.uint8)
    segmented = np.stack([blank if values is None else values for values in labels])[:, None]
    organs = {
        name: torch.from_numpy(segmented == label).to(originals.device)
        for name, label in ORGANS.items()
    }
    return {BODY: body(originals), **organs}


def body(images: Tensor) -> Tensor:
    """Where the body is: [N, 1, H, W] to bool of that shape.

    The largest connected region that, blurred over 7 x 7 pixels, is brighter than half the
    image's mean; holes count as inside. Air scores high whatever a model does, and its share
    differs from slice to slice.
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
