"""One epoch: train on every training image once, then score every validation image."""

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
    """Train on every training image once.

    Args:
        state: the training; its model, optimizer, codebook and step count are updated in place.
        train: the training split.
        epoch: the number of the epoch, from 1; together with the seed it determines the order.
        accumulation_steps: micro-batches per batch; see `train_step`.

    Returns:
        The metrics `train/…`: losses are means over images, perplexity is that of all codes of the
        epoch.
    """
    state.model.train()
    settings = state.config.training
    total = train.steps(settings.batch_size) * settings.epochs
    sums = EpochSums(state)
    started = time.perf_counter()
    for images in train.shuffled(settings.batch_size, settings.seed, epoch):
        rate = learning_rate(settings, state.step, total)
        sums.add(images, train_step(state, images, rate, accumulation_steps))
    metrics = sums.means() | {"perplexity": perplexity(sums.counts)}
    # The clock is read last: reading the metrics above waits until the device has finished.
    metrics["images_per_second"] = sums.images / (time.perf_counter() - started)
    return {f"train/{name}": value for name, value in metrics.items()}


def train_step(
    state: TrainingState, images: Tensor, rate: float, accumulation_steps: int = 1
) -> Losses:
    """Do one training step on a batch; nothing here makes the host wait for the device.

    With several accumulation steps, the gradients of the micro-batches are added up, weighted by
    their number of images. There is still one optimizer step and one codebook update per batch: the
    same step up to rounding, with less memory.

    Args:
        state: the training, updated in place.
        images: [B, 1, H, W] in [0, 1].
        rate: the learning rate of this step.
        accumulation_steps: micro-batches per batch.

    Returns:
        The losses of the batch, before the step.
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


def _add_gradient(state: TrainingState, images: Tensor, batch_size: int) -> Losses:
    """Add a micro-batch's share of the gradient of a batch; return the micro-batch's losses."""
    with autocast(state.device, state.config.training):
        losses = state.model.losses(images)
    (losses.total * (len(images) / batch_size)).backward()  # type: ignore[no-untyped-call]
    return replace(losses, images=losses.images.detach())


@torch.no_grad()
def validate_epoch(
    state: TrainingState, validate: Images, accumulation_steps: int = 1
) -> dict[str, float]:
    """Score every validation image at its native size, by the main protocol.

    See `vqvae.evaluation.metrics` for the protocol. It computes in float32 even if the training
    uses bfloat16, so that `vqvae evaluate` gives the same `val/ssim` for the checkpoint.

    Returns:
        The metrics `val/…`: means over images; perplexity and usage are those of all codes of the
        split.
    """
    state.model.eval()
    sums = EpochSums(state)
    scores: list[Tensor] = []
    size = micro_batch_size(state.config.training.batch_size, accumulation_steps)
    for images in validate.in_order(size):
        losses = state.model.losses(images)
        reconstructed = losses.images.clamp(0, 1)
        scores.append(torch.stack([ssim(images, reconstructed), psnr(images, reconstructed)]))
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
    """Sums over the images of an epoch, kept on the device: reading them makes the host wait."""

    def __init__(self, state: TrainingState) -> None:
        self.images = 0
        self.sums = torch.zeros(4, dtype=torch.float64, device=state.device)
        self.counts = torch.zeros(
            state.config.model.codebook_size, dtype=torch.int64, device=state.device
        )

    def add(self, images: Tensor, losses: Losses) -> None:
        """Add the losses of a batch, weighted by its number of images, and its codes."""
        terms = (losses.total, losses.reconstruction, losses.codebook, losses.commitment)
        self.sums += len(images) * torch.stack([term.detach() for term in terms])
        self.counts += code_counts(losses.indices, len(self.counts))
        self.images += len(images)

    def means(self) -> dict[str, float]:
        """The mean loss per image, by the name of the loss."""
        names = ("loss", "reconstruction_loss", "codebook_loss", "commitment_loss")
        return dict(zip(names, (self.sums / self.images).tolist(), strict=True))


def learning_rate(config: TrainingConfig, step: int, steps: int) -> float:
    """The learning rate of a step: a linear warm-up, then the schedule.

    With W = max(1, round(warmup * steps)) and r the configured rate, step s has the rate
    r (s + 1) / W in the warm-up (s < W). After it, `constant` has r, and `cosine` has
    r (0.01 + 0.99 (1 + cos(pi p)) / 2) with p = (s - W) / (steps - W).

    Args:
        config: names rate, warm-up and schedule.
        step: s, counted from 0 over all epochs.
        steps: the number of steps of the whole training.
    """
    warmup_steps = max(1, round(config.warmup * steps))
    if step < warmup_steps:
        return config.learning_rate * (step + 1) / warmup_steps
    match config.schedule:
        case "constant":
            return config.learning_rate
        case "cosine":
            progress = (step - warmup_steps) / max(1, steps - warmup_steps)
            return config.learning_rate * (0.01 + 0.99 * (1 + math.cos(math.pi * progress)) / 2)
