"""The VQ-VAE: encoder, quantizer, decoder and their loss, for images of any size."""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - the name the field gives it

from vqvae.config import ModelConfig
from vqvae.model.encoder_decoder import build_decoder, build_encoder
from vqvae.model.quantizer import Quantizer


@dataclass(frozen=True)
class Losses:
    """The terms of the loss (arXiv:1711.00937, eq. 3) of one batch, and what they came from."""

    total: Tensor
    """What is minimized: `reconstruction` + `commitment`, + `codebook` if that has a gradient."""
    reconstruction: Tensor
    """Mean over pixels, in units of the training images' own spread."""
    codebook: Tensor
    """Mean of (sg[z] - e)^2."""
    commitment: Tensor
    """beta times the mean of (z - sg[e])^2."""
    images: Tensor
    """[B, 1, H, W] as the decoder gave them, not yet held within [0, 1]."""
    encoded: Tensor
    """[B, D, h, w] before quantizing, without gradient."""
    indices: Tensor
    """[B, h, w] int64."""


def merge_losses(losses: Sequence[Losses]) -> Losses:
    """The losses of a batch from those of its micro-batches: means over its images."""
    if len(losses) == 1:
        return losses[0]
    whole = sum(len(some.images) for some in losses)
    shares = [len(some.images) / whole for some in losses]

    def mean(terms: Iterable[Tensor]) -> Tensor:
        pairs = zip(terms, shares, strict=True)
        return torch.stack([term.detach() * share for term, share in pairs]).sum()

    return Losses(
        total=mean(some.total for some in losses),
        reconstruction=mean(some.reconstruction for some in losses),
        codebook=mean(some.codebook for some in losses),
        commitment=mean(some.commitment for some in losses),
        images=torch.cat([some.images.detach() for some in losses]),
        encoded=torch.cat([some.encoded for some in losses]),
        indices=torch.cat([some.indices for some in losses]),
    )


class VQVAE(nn.Module):
    """Images [B, 1, H, W] in [0, 1] to a grid of codes and back, at the size they came in."""

    reconstruction_scale: Tensor

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.encoder = build_encoder(config)
        self.quantizer = Quantizer(config)
        self.decoder = build_decoder(config)
        # Loss 1 is that of a model which answers every image with the mean: without this, the
        # contrast of a data set would decide what beta means.
        self.register_buffer("reconstruction_scale", torch.ones(()))

    @property
    def codebook_size(self) -> int:
        """K."""
        return self.config.codebook_size

    @property
    def stride(self) -> int:
        """One code stands for `stride` x `stride` pixels."""
        return self.config.stride

    @property
    def device(self) -> torch.device:
        """Where it computes."""
        return self.reconstruction_scale.device

    @property
    def identity(self) -> str:
        """Hex SHA-256 of configuration and tensors: what its codes mean to nobody else."""
        digest = hashlib.sha256(self.config.model_dump_json().encode())
        for name, value in self.state_dict().items():
            digest.update(name.encode() + value.cpu().contiguous().numpy().tobytes())
        return digest.hexdigest()

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Reconstruct: [B, 1, H, W] to the same within [0, 1], and codes [B, h, w].

        What is decoded are the codes themselves, and nothing else of the images: whoever keeps
        the codes gets the same bits from `decode`.
        """
        indices = self.encode(images)
        height, width = images.shape[-2:]
        return self.decode(indices, height, width), indices

    def encode(self, images: Tensor) -> Tensor:
        """[B, 1, H, W] to codes [B, ceil(H / stride), ceil(W / stride)], int64."""
        return self.quantizer.encode_indices(self.to_vectors(images))

    def decode(self, indices: Tensor, height: int, width: int) -> Tensor:
        """Codes [B, h, w] to the images [B, 1, height, width] that they stand for."""
        # Cropped last: an exported program would take an operation after it for a promise that
        # there was nothing to crop.
        return crop(self.decode_all(indices), height, width)

    def decode_all(self, indices: Tensor) -> Tensor:
        """Codes [B, h, w] to images [B, 1, h stride, w stride] within [0, 1], not cropped."""
        return self.to_pixels(self.quantizer.codes_to_vectors(indices)).clamp(0, 1)

    def to_vectors(self, images: Tensor) -> Tensor:
        """[B, 1, H, W] to [B, D, ceil(H / stride), ceil(W / stride)]."""
        return self.encoder(pad(images, self.config.stride))  # type: ignore[no-any-return]

    def to_pixels(self, vectors: Tensor) -> Tensor:
        """Code vectors [B, D, h, w] to float32 images [B, 1, h stride, w stride], not cropped."""
        return self.decoder(vectors).float()  # type: ignore[no-any-return]

    def losses(self, images: Tensor) -> Losses:
        """The loss of `images` [B, 1, H, W] and its terms; padding does not count."""
        encoded = self.to_vectors(images)
        quantized = self.quantizer(encoded)
        made = crop(self.to_pixels(quantized.values), *images.shape[-2:])
        reconstruction = _distance(self.config, made, images) / self.reconstruction_scale
        commitment = self.config.commitment * quantized.commitment_loss
        total = reconstruction + commitment
        if self.config.codebook == "gradient":
            total = total + quantized.codebook_loss
        return Losses(
            total=total,
            reconstruction=reconstruction,
            codebook=quantized.codebook_loss,
            commitment=commitment,
            images=made,
            encoded=encoded.detach(),
            indices=quantized.indices,
        )


def pad(images: Tensor, multiple: int) -> Tensor:
    """Repeat the last row and column until both sides of [B, 1, H, W] divide by `multiple`.

    Repeating makes no edge that is not in the image, whatever lies there.
    """
    height, width = images.shape[-2:]
    return F.pad(images, (0, -width % multiple, 0, -height % multiple), mode="replicate")


def crop(images: Tensor, height: int, width: int) -> Tensor:
    """Undo `pad`: the first `height` rows and `width` columns of `images`."""
    if torch.compiler.is_exporting():
        # A slice would make the program promise that what is cropped was or was not contiguous.
        rows, columns = torch.arange(height), torch.arange(width)
        return images.index_select(-2, rows).index_select(-1, columns)
    return images[..., :height, :width]


def reconstruction_scale_of(config: ModelConfig, images: Tensor) -> Tensor:
    """The reconstruction loss of answering `images` with their mean: variance, or deviation."""
    return _distance(config, images.mean(), images).clamp(min=1e-6)


def _distance(config: ModelConfig, made: Tensor, images: Tensor) -> Tensor:
    match config.reconstruction_loss:
        case "l1":
            return (made - images).abs().mean()
        case "mse":
            return (made - images).square().mean()
