"""The models of the comparison. All have one code of 512 for 4 x 4 pixels: 0.5625 bits a pixel."""

from collections.abc import Callable, Mapping
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from benchmarks.quality.networks import ClassicQuantizer, classic_decoder, classic_encoder
from benchmarks.quality.vae import Vae
from vqvae.config import Config, DataConfig, ModelConfig, TrainingConfig
from vqvae.data.batches import Images
from vqvae.model.reconstruction_loss import mean_ssim
from vqvae.training.epoch import train_step
from vqvae.training.state import initial_state

CODES, STRIDE = 512, 4
CLIP_NORM = 1.0


class Model(Protocol):
    """A model that is trained step by step."""

    def step(self, images: Tensor, rate: float) -> None:
        """Train on a batch [B, 1, H, W] in [0, 1] with this learning rate."""

    def encode(self, images: Tensor) -> Tensor:
        """Return the codes, [B, h, w] int64."""

    def decode(self, indices: Tensor) -> Tensor:
        """Return images [B, 1, H, W] in [0, 1]."""

    def parameters(self) -> int:
        """Return the number of parameters."""

    def mode(self, training: bool) -> None:
        """Switch between training and evaluation."""


class Ours:
    """This project's model and training step."""

    def __init__(self, settings: Mapping[str, Any], train: Images, seed: int) -> None:
        model = ModelConfig(
            width=settings["width"],
            code_dimension=settings["dimension"],
            ssim_weight=settings["ssim_weight"],
        )
        training = TrainingConfig(batch_size=settings["batch_size"], epochs=1, seed=seed)
        config = Config(data=DataConfig(), model=model, training=training)
        self.state = initial_state(config, train.device, train)

    def step(self, images: Tensor, rate: float) -> None:
        train_step(self.state, images, rate)

    def encode(self, images: Tensor) -> Tensor:
        return self.state.model.encode(images)

    def decode(self, indices: Tensor) -> Tensor:
        return self.state.model.decode_all(indices)

    def parameters(self) -> int:
        return sum(weights.numel() for weights in self.state.model.parameters())

    def mode(self, training: bool) -> None:
        self.state.model.train(training)


class Classic:
    """A network of another author, trained by Adam on squared error / variance + its own loss."""

    def __init__(self, network: nn.Module, train: Images, ssim_weight: float) -> None:
        self.ssim_weight = ssim_weight
        pixels = torch.cat([images.flatten() for images in train.sample()])
        self.variance = pixels.var().clamp(min=1e-6)
        self.network = network.to(train.device)
        self.optimizer = torch.optim.Adam(network.parameters())

    def step(self, images: Tensor, rate: float) -> None:
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        reconstructed, own = self.network(images)
        loss = F.mse_loss(reconstructed, images) / self.variance + own
        if self.ssim_weight:
            loss = loss + self.ssim_weight * (1 - mean_ssim(images, reconstructed))
        self.optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(self.network.parameters(), CLIP_NORM)
        self.optimizer.step()

    def encode(self, images: Tensor) -> Tensor:
        return self.network.encode(images)  # type: ignore[operator, no-any-return]

    def decode(self, indices: Tensor) -> Tensor:
        return self.network.decode(indices).clamp(0, 1)  # type: ignore[operator, no-any-return]

    def parameters(self) -> int:
        return sum(weights.numel() for weights in self.network.parameters())

    def mode(self, training: bool) -> None:
        self.network.train(training)


class ClassicNetwork(nn.Module):
    """The small VQ-VAE of Sonnet's example, with the quantizer of its ports."""

    def __init__(self, width: int, dimension: int = 64, decay: float = 0.99) -> None:
        super().__init__()
        self.encoder = classic_encoder(width, dimension)
        self.quantizer = ClassicQuantizer(CODES, dimension, decay)
        self.decoder = classic_decoder(width, dimension)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        values, _, commitment = self.quantizer(self.encoder(images))
        return self.decoder(values), 0.25 * commitment

    def encode(self, images: Tensor) -> Tensor:
        return self.quantizer(self.encoder(images))[1]  # type: ignore[no-any-return]

    def decode(self, indices: Tensor) -> Tensor:
        return self.decoder(self.quantizer.vectors[indices].movedim(-1, 1))  # type: ignore[no-any-return]


class WithPackage(nn.Module):
    """The same network with a quantizer of `vector-quantize-pytorch`."""

    def __init__(self, width: int, *, finite: bool) -> None:
        from vector_quantize_pytorch import FSQ, VectorQuantize

        super().__init__()
        self.encoder, self.decoder = classic_encoder(width, 64), classic_decoder(width, 64)
        self.finite = finite
        self.quantizer = (
            FSQ(levels=[8, 8, 8], dim=64)
            if finite
            else VectorQuantize(
                dim=64,
                codebook_size=CODES,
                decay=0.99,
                commitment_weight=0.25,
                rotation_trick=False,
                kmeans_init=True,
                threshold_ema_dead_code=2,
                accept_image_fmap=True,
            )
        )

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        found = self.quantizer(self.encoder(images))
        own = images.new_zeros(()) if self.finite else found[2].sum()
        return self.decoder(found[0]), own

    def encode(self, images: Tensor) -> Tensor:
        return self.quantizer(self.encoder(images))[1].long()  # type: ignore[no-any-return]

    def decode(self, indices: Tensor) -> Tensor:
        if self.finite:
            return self.decoder(self.quantizer.indices_to_codes(indices))  # type: ignore[no-any-return]
        return self.decoder(self.quantizer.get_output_from_indices(indices))  # type: ignore[no-any-return]


class Monai(nn.Module):
    """MONAI's VQVAE with the same latent grid and number of codes."""

    def __init__(self, width: int) -> None:
        from monai.networks.nets import VQVAE

        super().__init__()
        self.network = VQVAE(
            spatial_dims=2,
            in_channels=1,
            out_channels=1,
            channels=(width, width),
            num_res_channels=(width, width),
            num_res_layers=2,
            downsample_parameters=((2, 4, 1, 1),) * 2,
            upsample_parameters=((2, 4, 1, 1, 0),) * 2,
            num_embeddings=CODES,
            embedding_dim=64,
            decay=0.99,
            ddp_sync=False,
        )

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        reconstructed, own = self.network(images)
        return reconstructed, own

    def encode(self, images: Tensor) -> Tensor:
        return self.network.index_quantize(images)  # type: ignore[no-any-return]

    def decode(self, indices: Tensor) -> Tensor:
        return self.network.decode_samples(indices)  # type: ignore[no-any-return]


NETWORKS: dict[str, Callable[[int], nn.Module]] = {
    "classic": ClassicNetwork,
    "vector-quantize-pytorch": lambda width: WithPackage(width, finite=False),
    "fsq": lambda width: WithPackage(width, finite=True),
    "monai": Monai,
    "first-report": lambda width: ClassicNetwork(width, dimension=16, decay=0.999),
}
VAES = {"vae-1e-4": 1e-4, "vae-1e-3": 1e-3, "vae-1e-2": 1e-2, "vae-1": 1.0}
"""Continuous VAEs by name, each with its beta."""
NAMES = ("ours", *NETWORKS, *VAES)


def build(name: str, settings: Mapping[str, Any], train: Images, seed: int) -> Model:
    """Return a model, ready for its first step.

    Args:
        name: one of NAMES.
        settings: `width`, `batch_size` and `ssim_weight`; `dimension` for ours.
        train: the training split.
        seed: of the weights.
    """
    torch.manual_seed(seed)
    if name == "ours":
        return Ours(settings, train, seed)
    if name in VAES:
        return Vae({**settings, "beta": VAES[name]}, train)
    return Classic(NETWORKS[name](settings["width"]), train, settings["ssim_weight"])
