"""The VQ-VAE: encoder, quantizer, decoder and their loss, for images of any size.

In shapes, B is the number of images, H x W their size, h x w the latent grid with
h = ceil(H / stride) and w = ceil(W / stride), D the dimension of a code vector, K the number of
codes. Images are float32 in [0, 1].
"""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - the name the field gives it

from vqvae.config import ModelConfig
from vqvae.model.code_prior import CodePrior
from vqvae.model.encoder_decoder import build_decoder, build_encoder
from vqvae.model.quantizer import Quantizer
from vqvae.model.reconstruction_loss import reconstruction_loss


@dataclass(frozen=True)
class Losses:
    """The terms of the loss of one batch (arXiv:1711.00937, eq. 3), and the intermediate results.

    The first four are scalars.
    """

    total: Tensor
    """The loss that is minimized: `reconstruction` + `commitment`, and + `codebook` if the codebook
    is trained by gradient."""
    reconstruction: Tensor
    """The error of the pixels, divided by `reconstruction_scale`, and 1 - SSIM."""
    codebook: Tensor
    """The mean of (sg[z] - e)^2."""
    commitment: Tensor
    """beta times the mean of (z - sg[e])^2."""
    images: Tensor
    """The decoder's output, [B, 1, H, W], not clamped to [0, 1]."""
    encoded: Tensor
    """The encoder's output z, [B, D, h, w], without gradient."""
    indices: Tensor
    """The codes, [B, h, w] int64."""


def merge_losses(losses: Sequence[Losses]) -> Losses:
    """The losses of a batch from those of its micro-batches, weighted by their number of images."""
    if len(losses) == 1:
        return losses[0]
    batch_size = sum(len(some.images) for some in losses)
    shares = [len(some.images) / batch_size for some in losses]

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
    """A VQ-VAE: images [B, 1, H, W] to codes [B, h, w], and codes to images of the same size."""

    reconstruction_scale: Tensor
    """What the error of the pixels is divided by, a scalar: the variance (`mse`) or the mean
    absolute deviation (`l1`) of the training images. See `reconstruction_scale_of`."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.code_prior: CodePrior | None = None
        self.encoder = build_encoder(config)
        self.quantizer = Quantizer(config)
        self.decoder = build_decoder(config)
        self.register_buffer("reconstruction_scale", torch.ones(()))

    @property
    def codebook_size(self) -> int:
        """The number K of codes."""
        return self.config.codebook_size

    @property
    def stride(self) -> int:
        """One code stands for `stride` x `stride` pixels."""
        return self.config.stride

    @property
    def device(self) -> torch.device:
        """The device of its parameters."""
        return self.reconstruction_scale.device

    @property
    def identity(self) -> str:
        """Hex SHA-256 of configuration, tensors and statistics: only the same decodes its codes."""
        digest = hashlib.sha256(self.tensor_digest.encode())
        if self.code_prior is not None:
            digest.update(self.code_prior.to_bytes())
        return digest.hexdigest()

    @property
    def tensor_digest(self) -> str:
        """Hex SHA-256 of configuration and tensors."""
        digest = hashlib.sha256(self.config.model_dump_json().encode())
        for name, value in self.state_dict().items():
            digest.update(name.encode() + value.cpu().contiguous().numpy().tobytes())
        return digest.hexdigest()

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Reconstruct images [B, 1, H, W]: images of that shape in [0, 1], and codes [B, h, w].

        The reconstruction is decoded from the codes alone. `decode` gives the same bits for the
        stored codes.
        """
        indices = self.encode(images)
        height, width = images.shape[-2:]
        return self.decode(indices, height, width), indices

    def encode(self, images: Tensor) -> Tensor:
        """Images [B, 1, H, W] to codes [B, h, w] int64."""
        return self.quantizer.encode_indices(self.to_vectors(images))

    def decode(self, indices: Tensor, height: int, width: int) -> Tensor:
        """Codes [B, h, w] to images [B, 1, height, width] in [0, 1]."""
        # Cropping comes last: from any operation after it, torch.export would conclude that the
        # program never has anything to crop.
        return crop(self.decode_all(indices), height, width)

    def decode_all(self, indices: Tensor) -> Tensor:
        """Codes [B, h, w] to images [B, 1, h stride, w stride] in [0, 1], not cropped."""
        return self.to_pixels(self.quantizer.codes_to_vectors(indices)).clamp(0, 1)

    def to_vectors(self, images: Tensor) -> Tensor:
        """Images [B, 1, H, W] to encoder vectors z, [B, D, h, w]."""
        return self.encoder(pad(images, self.config.stride))  # type: ignore[no-any-return]

    def to_pixels(self, vectors: Tensor) -> Tensor:
        """Code vectors [B, D, h, w] to float32 images [B, 1, h stride, w stride], not cropped."""
        return self.decoder(vectors).float()  # type: ignore[no-any-return]

    def losses(self, images: Tensor) -> Losses:
        """The loss of `images` [B, 1, H, W] and its terms; padded pixels do not count."""
        encoded = self.to_vectors(images)
        quantized = self.quantizer(encoded)
        reconstructed = crop(self.to_pixels(quantized.values), *images.shape[-2:])
        reconstruction = reconstruction_loss(
            self.config, reconstructed, images, self.reconstruction_scale
        )
        commitment = self.config.commitment * quantized.commitment_loss
        total = reconstruction + commitment
        if self.quantizer.codebook.has_gradient:
            total = total + quantized.codebook_loss
        return Losses(
            total=total,
            reconstruction=reconstruction,
            codebook=quantized.codebook_loss,
            commitment=commitment,
            images=reconstructed,
            encoded=encoded.detach(),
            indices=quantized.indices,
        )


def pad(images: Tensor, multiple: int) -> Tensor:
    """Pad images [B, 1, H, W] at the bottom and right until both sides divide by `multiple`.

    The last row and column are repeated: padding with zeros would add an edge that is not in the
    image.
    """
    height, width = images.shape[-2:]
    return F.pad(images, (0, -width % multiple, 0, -height % multiple), mode="replicate")


def crop(images: Tensor, height: int, width: int) -> Tensor:
    """Undo `pad`: the first `height` rows and `width` columns of `images` [B, 1, H, W]."""
    if torch.compiler.is_exporting():
        # From a slice, torch.export would fix whether the cropped tensor is contiguous.
        rows, columns = torch.arange(height), torch.arange(width)
        return images.index_select(-2, rows).index_select(-1, columns)
    return images[..., :height, :width]
