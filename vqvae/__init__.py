"""A VQ-VAE for 2-D MRI slices: data, network, quantizer, training, reconstruction."""

from pathlib import Path
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from vqvae.model.vqvae import VQVAE


def load(source: Path | str, device: Literal["auto", "cpu", "cuda"] = "cpu") -> "VQVAE":
    """Return a trained model, in evaluation mode and without gradients.

    Called with images [B, 1, H, W] in [0, 1], it returns their reconstructions, of the same shape,
    and their codes [B, h, w]; `encode` and `decode` are the two halves.

    Args:
        source: what `--model` takes: the folder of a training or of a sweep's trial,
            `sweep:number`, `sweep:best`, or a checkpoint file.
        device: the device to compute on; `auto` is a CUDA GPU if torch finds one.

    Raises:
        ValueError: there is no such model, it is damaged, or it is a package.
    """
    from vqvae.inference.load import open_trained_model

    return open_trained_model(str(source), device)
