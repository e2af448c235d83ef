"""Training: a generator of epochs, each on disk before it is handed out."""

import logging
import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor, nn

from vqvae.config import Config, TrainingConfig
from vqvae.data.batches import Images, micro_batch_size, open_images, split_batch
from vqvae.data.layout import list_splits
from vqvae.data.splits import fingerprint_of, open_split
from vqvae.device import autocast, choose_device, memory_format, reproducible
from vqvae.evaluation.metrics import codebook_usage, perplexity, psnr, ssim
from vqvae.files import clear_drafts
from vqvae.model.quantizer import code_counts
from vqvae.model.vqvae import Losses, merge_losses
from vqvae.training import checkpoint
from vqvae.training.checkpoint import Best, Epoch, FoundCheckpoint
from vqvae.training.state import (
    TrainingState,
    initial_state,
    refuse_other_config,
    refuse_other_data,
    refuse_other_metric,
    restore_state,
    to_checkpoint,
)

log = logging.getLogger(__name__)

MAX_RECONSTRUCTION_LOSS = 100.0
"""A reconstruction loss of the validation split that ends a training. It is in units of the images'
own spread: answering each image with the mean costs about 1, the worst image there can be some
tens. What lies beyond is no image, and steps of clipped length do not lead back from there."""


def fit(
    config: Config,
    folder: Path,
    *,
    continue_from: Sequence[Path] = (),
    threads: int,
    should_stop: Callable[[], bool] = lambda: False,
    metric: str = "val/ssim",
    maximize: bool = True,
    accumulation_steps: int = 1,
) -> Iterator[Epoch]:
    """Train, an epoch at a time, keeping `last.pt` and `best.pt` in `folder`.

    An epoch's checkpoint, with its row inside, is on disk before the row is yielded. Where
    `folder`, or else one of `continue_from`, holds a checkpoint, its row is yielded first and
    training goes on from there: on a CPU, with as many threads, to the same end bit for bit. One
    that is damaged is passed over for the one before it. A row that says why it diverged is the
    last.

    Args:
        config: what to train, and on which data.
        folder: where checkpoints go; made if need be.
        continue_from: the folders of earlier attempts, the latest first; only read.
        threads: how many CPU threads compute.
        should_stop: asked before each epoch begins; True ends the generator.
        metric: the one of an epoch's metrics that decides which epoch is `best.pt`.
        maximize: whether the highest `metric` is the best, or the lowest.
        accumulation_steps: in how many micro-batches each batch is computed, to save memory:
            their gradients are added up, so that each step is that of the whole batch but for
            rounding.

    Yields:
        One row an epoch.

    Raises:
        InputError: the data or the configuration do not fit, or the checkpoint is of another
            configuration or on other data, or its best epoch was chosen by another metric.
    """
    device = choose_device(config.training.device)
    layout = memory_format(device, config.training.precision)
    found = checkpoint.find_checkpoint(folder, continue_from)
    if found is not None:
        refuse_other_config(config, found.checkpoint.config, found.file.parent)
        refuse_other_metric(metric, found.checkpoint.best, found.file.parent)
        last = found.checkpoint.row
        if last.diverged or last.epoch >= config.training.epochs:
            # Before the data are looked for: they need not be there any more.
            checkpoint.adopt(found, folder)
            yield last
            checkpoint.drop_previous(folder)
            return
    listings = list_splits(config.data.root)
    fingerprint = fingerprint_of(listings)
    if found is not None:
        refuse_other_data(fingerprint, found.checkpoint, found.file.parent, config.data.root)
        checkpoint.adopt(found, folder)
        yield found.checkpoint.row
    else:
        clear_drafts(folder)

    train, validate = (
        open_images(
            open_split(config.data, name, listings),
            device,
            layout,
            spare_memory=accumulation_steps > 1,
        )
        for name in ("train", "validate")
    )
    with reproducible(threads):
        run = _new_or_restored(config, device, train, found, threads, accumulation_steps)

    writing = 0.0
    first = 1 if found is None else found.checkpoint.row.epoch + 1
    for epoch in range(first, config.training.epochs + 1):
        if should_stop():
            return
        started = time.perf_counter()
        with reproducible(threads):
            metrics = train_epoch(run, train, epoch, accumulation_steps) | validate_epoch(
                run, validate, accumulation_steps
            )
        seconds = time.perf_counter() - started + writing
        row = epoch_row(metrics, epoch, seconds, config.model.codebook_size)
        run.best = better_epoch(run.best, row, metric, maximize=maximize)
        started = time.perf_counter()
        checkpoint.save(to_checkpoint(run, row, threads, fingerprint), folder)
        writing = time.perf_counter() - started
        yield row
        if row.diverged:
            break
    checkpoint.drop_previous(folder)


def _new_or_restored(
    config: Config,
    device: torch.device,
    train: Images,
    found: FoundCheckpoint | None,
    threads: int,
    accumulation_steps: int,
) -> TrainingState:
    """A new run, or the one whose checkpoint was found."""
    if found is None:
        return initial_state(config, device, train, accumulation_steps)
    _warn_if_not_reproducible(found.checkpoint.threads, threads, device)
    return restore_state(found.checkpoint, found.file, config, device)


def epoch_row(metrics: dict[str, float], epoch: int, seconds: float, codes: int) -> Epoch:
    """What is kept of an epoch: the figures that are numbers, and why it is the last, if it is."""
    return Epoch(
        epoch=epoch,
        metrics={name: value for name, value in metrics.items() if math.isfinite(value)},
        timestamp=time.time_ns() // 1_000_000,
        seconds=seconds,
        diverged=divergence_reason(metrics, epoch, codes),
    )


def train_epoch(
    run: TrainingState, train: Images, epoch: int, accumulation_steps: int = 1
) -> dict[str, float]:
    """Every training image once; figures are means over images, perplexity over all vectors."""
    run.model.train()
    settings = run.config.training
    total = train.steps(settings.batch_size) * settings.epochs
    tally = EpochSums(run)
    started = time.perf_counter()
    for images in train.shuffled(settings.batch_size, settings.seed, epoch):
        rate = learning_rate(settings, run.step, total)
        tally.add(images, train_step(run, images, rate, accumulation_steps))
    metrics = tally.means() | {"perplexity": perplexity(tally.counts)}
    # Asked last: reading the figures above waited for the device to finish.
    metrics["images_per_second"] = tally.images / (time.perf_counter() - started)
    return {f"train/{name}": value for name, value in metrics.items()}


def train_step(
    run: TrainingState, images: Tensor, rate: float, accumulation_steps: int = 1
) -> Losses:
    """Follow one batch [B, 1, H, W]. Nothing here makes the host wait for the device.

    Computed in parts, it is one step all the same: one gradient, one move of the codes.
    """
    for group in run.optimizer.param_groups:
        group["lr"] = rate
    run.optimizer.zero_grad()
    losses = merge_losses(
        [_add_gradient(run, part, len(images)) for part in split_batch(images, accumulation_steps)]
    )
    nn.utils.clip_grad_norm_(run.model.parameters(), run.config.training.clip_norm)
    run.optimizer.step()
    run.model.quantizer.update_(losses.encoded, losses.indices, run.generator)
    run.step += 1
    return losses


def _add_gradient(run: TrainingState, images: Tensor, whole: int) -> Losses:
    """The losses of some of a batch's `whole` images, their share of its gradient added."""
    with autocast(run.device, run.config.training):
        losses = run.model.losses(images)
    (losses.total * (len(images) / whole)).backward()  # type: ignore[no-untyped-call]
    return replace(losses, images=losses.images.detach())


@torch.no_grad()
def validate_epoch(
    run: TrainingState, validate: Images, accumulation_steps: int = 1
) -> dict[str, float]:
    """Every validation image at its native size, scored by the main protocol.

    In float32 whatever the training's precision: `val/ssim` is the figure that scoring the
    checkpoint gives.
    """
    run.model.eval()
    tally = EpochSums(run)
    scores: list[Tensor] = []
    for images in validate.in_order(
        micro_batch_size(run.config.training.batch_size, accumulation_steps)
    ):
        losses = run.model.losses(images)
        made = losses.images.clamp(0, 1)
        scores.append(torch.stack([ssim(images, made), psnr(images, made)]))
        tally.add(images, losses)
    mean_ssim, mean_psnr = torch.cat(scores, 1).double().mean(1).tolist()
    means = tally.means()
    return {
        "val/loss": means["loss"],
        "val/reconstruction_loss": means["reconstruction_loss"],
        "val/ssim": mean_ssim,
        "val/psnr": mean_psnr,
        "val/perplexity": perplexity(tally.counts),
        "val/codebook_usage": codebook_usage(tally.counts),
    }


class EpochSums:
    """Sums over a split, kept on the device: reading one makes the host wait."""

    def __init__(self, run: TrainingState) -> None:
        self.images = 0
        self.sums = torch.zeros(4, dtype=torch.float64, device=run.device)
        self.counts = torch.zeros(
            run.config.model.codebook_size, dtype=torch.int64, device=run.device
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


def divergence_reason(metrics: dict[str, float], epoch: int, codes: int) -> str | None:
    """Why going on is pointless: a loss beyond all bounds, or one code doing all the work.

    The first epoch may end with few codes in use: the codes start before the encoder has learnt
    to tell one place from another.
    """
    for name in ("train/loss", "val/loss"):
        if not math.isfinite(metrics[name]):
            return f"{name} is {metrics[name]} in epoch {epoch}"
    if (found := metrics["val/reconstruction_loss"]) > MAX_RECONSTRUCTION_LOSS:
        said = f"exploded: val/reconstruction_loss is {found:.4g} in epoch {epoch}"
        return f"{said}; a model that answers with the mean has about 1"
    # One code alone has perplexity 1; how much more is more than one depends on how few there are.
    if epoch > 1 and metrics["val/perplexity"] < 1 + min(0.5, 0.1 * (codes - 1)):
        found = metrics["val/perplexity"]
        return f"codebook collapsed: val/perplexity {found:.2f} in epoch {epoch}"
    return None


def _warn_if_not_reproducible(before: int | None, threads: int, device: torch.device) -> None:
    if device.type == "cpu" and before not in (None, threads):
        log.warning(
            "going on with %d CPU threads after %d: near to, but not bit for bit what it would "
            "have been",
            threads,
            before,
        )


def better_epoch(best: Best | None, row: Epoch, metric: str, *, maximize: bool) -> Best | None:
    """The better of two epochs by a metric; of equals the earlier."""
    found = row.metrics.get(metric)
    if found is None or row.diverged:
        return best
    if best is not None and not (found > best.value if maximize else found < best.value):
        return best
    return Best(row.epoch, metric, found)
