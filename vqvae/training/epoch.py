"""One epoch: every training image once, then every validation image scored."""

import math
import time
from dataclasses import replace

import torch
from torch import Tensor, nn

from vqvae.config import TrainingConfig
from vqvae.data.batches import Images, micro_batch_size, split_batch
from vqvae.device import autocast
from vqvae.evaluation.metrics import codebook_usage, perplexity, psnr, ssim
from vqvae.model.quantizer import code_counts
from vqvae.model.vqvae import Losses, merge_losses
from vqvae.training.state import TrainingState


def train_epoch(
    state: TrainingState, train: Images, epoch: int, accumulation_steps: int = 1
) -> dict[str, float]:
    """Every training image once; figures are means over images, perplexity over all vectors."""
    state.model.train()
    settings = state.config.training
    total = train.steps(settings.batch_size) * settings.epochs
    sums = EpochSums(state)
    started = time.perf_counter()
    for images in train.shuffled(settings.batch_size, settings.seed, epoch):
        rate = learning_rate(settings, state.step, total)
        sums.add(images, train_step(state, images, rate, accumulation_steps))
    metrics = sums.means() | {"perplexity": perplexity(sums.counts)}
    # Asked last: reading the figures above waited for the device to finish.
    metrics["images_per_second"] = sums.images / (time.perf_counter() - started)
    return {f"train/{name}": value for name, value in metrics.items()}


def train_step(
    state: TrainingState, images: Tensor, rate: float, accumulation_steps: int = 1
) -> Losses:
    """Follow one batch [B, 1, H, W]. Nothing here makes the host wait for the device.

    In micro-batches it is one step all the same: one gradient, one move of the codes.
    """
    for group in state.optimizer.param_groups:
        group["lr"] = rate
    state.optimizer.zero_grad()
    micro_batches = split_batch(images, accumulation_steps)
    losses = merge_losses([_add_gradient(state, some, len(images)) for some in micro_batches])
    nn.utils.clip_grad_norm_(state.model.parameters(), state.config.training.clip_norm)
    state.optimizer.step()
    state.model.quantizer.update_(losses.encoded, losses.indices, state.generator)
    state.step += 1
    return losses


def _add_gradient(state: TrainingState, images: Tensor, whole: int) -> Losses:
    """The losses of some of a batch's `whole` images, their share of its gradient added."""
    with autocast(state.device, state.config.training):
        losses = state.model.losses(images)
    (losses.total * (len(images) / whole)).backward()  # type: ignore[no-untyped-call]
    return replace(losses, images=losses.images.detach())


@torch.no_grad()
def validate_epoch(
    state: TrainingState, validate: Images, accumulation_steps: int = 1
) -> dict[str, float]:
    """Every validation image at its native size, scored by the main protocol.

    In float32 whatever the training's precision: `val/ssim` is the figure that scoring the
    checkpoint gives.
    """
    state.model.eval()
    sums = EpochSums(state)
    scores: list[Tensor] = []
    size = micro_batch_size(state.config.training.batch_size, accumulation_steps)
    for images in validate.in_order(size):
        losses = state.model.losses(images)
        made = losses.images.clamp(0, 1)
        scores.append(torch.stack([ssim(images, made), psnr(images, made)]))
        sums.add(images, losses)
    mean_ssim, mean_psnr = torch.cat(scores, 1).double().mean(1).tolist()
    means = sums.means()
    return {
        "val/loss": means["loss"],
        "val/reconstruction_loss": means["reconstruction_loss"],
        "val/ssim": mean_ssim,
        "val/psnr": mean_psnr,
        "val/perplexity": perplexity(sums.counts),
        "val/codebook_usage": codebook_usage(sums.counts),
    }


class EpochSums:
    """Sums over a split, kept on the device: reading one makes the host wait."""

    def __init__(self, state: TrainingState) -> None:
        self.images = 0
        self.sums = torch.zeros(4, dtype=torch.float64, device=state.device)
        self.counts = torch.zeros(
            state.config.model.codebook_size, dtype=torch.int64, device=state.device
        )

    def add(self, images: Tensor, losses: Losses) -> None:
        """Count a batch, its losses as often as it has images."""
        terms = (losses.total, losses.reconstruction, losses.codebook, losses.commitment)
        self.sums += len(images) * torch.stack([term.detach() for term in terms])
        self.counts += code_counts(losses.indices, len(self.counts))
        self.images += len(images)

    def means(self) -> dict[str, float]:
        """The losses an image, by their names."""
        names = ("loss", "reconstruction_loss", "codebook_loss", "commitment_loss")
        return dict(zip(names, (self.sums / self.images).tolist(), strict=True))


def learning_rate(config: TrainingConfig, step: int, steps: int) -> float:
    """The learning rate of a step, counted from 0, out of `steps`: a rise, then the schedule."""
    rising = max(1, round(config.warmup * steps))
    if step < rising:
        return config.learning_rate * (step + 1) / rising
    match config.schedule:
        case "constant":
            return config.learning_rate
        case "cosine":
            passed = (step - rising) / max(1, steps - rising)
            return config.learning_rate * (0.01 + 0.99 * (1 + math.cos(math.pi * passed)) / 2)
