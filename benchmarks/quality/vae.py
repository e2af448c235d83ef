"""A continuous VAE of this project's network, and what storing its latents at equal bits costs.

The loss is that of the VQ-VAE, with beta times the KL divergence to a standard normal distribution
(nats a pixel) in place of the quantizer's terms (Kingma and Welling 2014, arXiv:1312.6114). A VAE
has no codes. To store an image, its mean latents are rounded to multiples of a step, and each
channel is coded by an ideal entropy coder that knows the training split's statistics. The step is
chosen so that the training split has the rate of the other models.
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from vqvae.config import ModelConfig
from vqvae.data.batches import Images
from vqvae.model.encoder_decoder import build_decoder, build_encoder
from vqvae.model.reconstruction_loss import reconstruction_loss, reconstruction_scale_of

BATCH = 16
CLIP_NORM = 1.0
LARGEST = 2**15
"""The largest rounded latent, as a number of steps."""
COLLAPSED_NATS = 0.01
"""A channel whose mean KL divergence a position is below this carries nothing."""


class Vae:
    """A VAE that is trained like the others; see the module's text."""

    def __init__(self, settings: Mapping[str, Any], train: Images) -> None:
        channels = settings["dimension"]
        self.config = ModelConfig(
            width=settings["width"],
            code_dimension=2 * channels,
            ssim_weight=settings["ssim_weight"],
        )
        decoded = self.config.model_copy(update={"code_dimension": channels})
        self.encoder = build_encoder(self.config).to(train.device)
        self.decoder = build_decoder(decoded).to(train.device)
        self.beta: float = settings["beta"]
        pixels = torch.cat([images.flatten() for images in train.sample()])
        self.scale = reconstruction_scale_of(self.config, pixels)
        self.network = nn.ModuleList([self.encoder, self.decoder])
        self.optimizer = torch.optim.Adam(self.network.parameters())
        self.step_size = 1.0
        self.lengths: list[Tensor] = []

    def step(self, images: Tensor, rate: float) -> None:
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        mean, log_variance = self.encoder(images).chunk(2, 1)
        latents = mean + torch.randn_like(mean) * (0.5 * log_variance).exp()
        loss = reconstruction_loss(self.config, self.decoder(latents), images, self.scale)
        divergence = _divergence(mean, log_variance).sum() / images.numel()
        self.optimizer.zero_grad()
        (loss + self.beta * divergence).backward()
        nn.utils.clip_grad_norm_(self.network.parameters(), CLIP_NORM)
        self.optimizer.step()

    def mean_latents(self, images: Tensor) -> Tensor:
        """Return the mean of the latents, [B, D, h, w]."""
        return self.encoder(images).chunk(2, 1)[0]  # type: ignore[no-any-return]

    def encode(self, images: Tensor) -> Tensor:
        """Return the rounded latents, int64 [B, D, h, w]."""
        rounded = (self.mean_latents(images) / self.step_size).round().long()
        return rounded.clamp(-LARGEST, LARGEST)

    def decode(self, indices: Tensor) -> Tensor:
        return self.decoder(indices * self.step_size).clamp(0, 1)  # type: ignore[no-any-return]

    def bits(self, indices: Tensor) -> float:
        """Return the ideal code length of rounded latents by the training split's statistics."""
        channels = indices.movedim(1, 0).flatten(1)
        pairs = zip(self.lengths, channels, strict=True)
        return float(sum(lengths[values + LARGEST].sum() for lengths, values in pairs))

    def parameters(self) -> int:
        return sum(weights.numel() for weights in self.network.parameters())

    def mode(self, training: bool) -> None:
        self.network.train(training)

    @torch.inference_mode()
    def fit_rate(self, train: Images, bits: float) -> None:
        """Choose the step so that a position of the training split costs `bits`, by bisection."""
        latents = torch.cat([self.mean_latents(images) for images in train.in_order(BATCH)])
        channels = latents.movedim(1, 0).flatten(1)
        low, high = 1e-4, 1e4
        for _ in range(40):
            self.step_size = (low * high) ** 0.5
            lengths = [_code_lengths(_rounded(values, self.step_size)) for values in channels]
            cost = sum(
                float(each[_rounded(values, self.step_size) + LARGEST].mean())
                for each, values in zip(lengths, channels, strict=True)
            )
            low, high = (self.step_size, high) if cost > bits else (low, self.step_size)
        self.lengths = lengths

    @torch.inference_mode()
    def collapse(self, images: Images) -> dict[str, float]:
        """Return the KL divergence in nats a position, and how many channels carry anything."""
        total, positions = torch.zeros(self.config.code_dimension // 2, device=images.device), 0
        for batch in images.in_order(BATCH):
            mean, log_variance = self.encoder(batch).chunk(2, 1)
            total += _divergence(mean, log_variance).sum((0, 2, 3))
            positions += mean[:, 0].numel()
        each = total / positions
        return {"kl": float(each.sum()), "active_channels": int((each > COLLAPSED_NATS).sum())}


def _divergence(mean: Tensor, log_variance: Tensor) -> Tensor:
    """The KL divergence of N(mean, variance) to N(0, 1), for each latent."""
    return 0.5 * (mean**2 + log_variance.exp() - 1 - log_variance)


def _rounded(values: Tensor, step: float) -> Tensor:
    return (values / step).round().long().clamp(-LARGEST, LARGEST)


def _code_lengths(rounded: Tensor) -> Tensor:
    """The ideal code length of each value in bits; one never seen costs as if seen half a time."""
    counts = torch.bincount(rounded + LARGEST, minlength=2 * LARGEST + 1).double()
    shares = counts.clamp(min=0.5) / counts.sum()
    return -shares.log2()
