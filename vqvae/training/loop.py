"""The training loop: a generator of epochs, each of which is on disk before it is yielded."""

import logging
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from vqvae.config import Config
from vqvae.data.batches import Images, open_images
from vqvae.data.layout import Listing, SplitName, list_splits
from vqvae.data.splits import fingerprint_of, open_split
from vqvae.device import choose_device, memory_format, reproducible
from vqvae.files import clear_drafts
from vqvae.training import checkpoint
from vqvae.training.checkpoint import HIGHEST_SSIM, Best, Epoch, Objective
from vqvae.training.epoch import train_epoch, validate_epoch
from vqvae.training.resume import (
    FoundCheckpoint,
    adopt,
    find_checkpoint,
    refuse_other_data,
    refuse_other_training,
)
from vqvae.training.state import TrainingState, initial_state, restore_state, to_checkpoint

log = logging.getLogger(__name__)

MAX_RECONSTRUCTION_LOSS = 100.0
"""The largest `val/reconstruction_loss` with which a training continues. The loss is divided by
`reconstruction_scale`: predicting the mean of the training images costs about 1, and about
`ssim_weight` more. The worst possible image in [0, 1] costs some tens. Beyond that the output is no
image, and because gradients are clipped, the steps are too short to lead back."""


@dataclass(frozen=True)
class TrainingData:
    """The data of a training."""

    train: Images
    validate: Images
    fingerprint: str
    """Hash of names and sizes of all slices; see `vqvae.data.splits.fingerprint_of`."""


@dataclass(frozen=True)
class _Options:
    """The arguments of `fit` that every epoch needs."""

    threads: int
    should_stop: Callable[[], bool]
    objective: Objective
    accumulation_steps: int
    scratch: Path | None


def fit(
    config: Config,
    folder: Path,
    *,
    continue_from: Sequence[Path] = (),
    threads: int,
    should_stop: Callable[[], bool] = lambda: False,
    objective: Objective = HIGHEST_SSIM,
    accumulation_steps: int = 1,
    scratch: Path | None = None,
) -> Iterator[Epoch]:
    """Train a VQ-VAE, yielding each epoch once its checkpoint, which contains it, is on disk.

    Running it again yields the latest intact epoch in `folder`, or else in `continue_from`, and the
    epochs after it: on a CPU with the same `threads`, the same as without a stop, bit for bit.

    Args:
        config: data, model and training.
        folder: the folder of `last.pt` and `best.pt`.
        continue_from: folders of earlier attempts, the latest first; they are only read.
        threads: the number of CPU threads.
        should_stop: asked before each epoch; True ends the training.
        objective: chooses `best.pt`.
        accumulation_steps: micro-batches per batch: less memory, the same steps up to rounding.
        scratch: a folder on a disk of this host, where a copy of the slices may be kept.

    Raises:
        InputError: data, configuration, objective and checkpoint do not fit together.
    """
    device = choose_device(config.training.device)
    found = find_checkpoint(folder, continue_from)
    if found is not None:
        refuse_other_training(found, config, objective)
        if _is_finished(found.checkpoint.row, config):  # the data need not exist any more
            adopt(found, folder)
            yield found.checkpoint.row
            checkpoint.drop_previous(folder)
            return
    listings = list_splits(config.data.root)
    fingerprint = fingerprint_of(listings)
    if found is None:
        clear_drafts(folder)
    else:
        refuse_other_data(found, fingerprint, config.data.root)
        adopt(found, folder)
        yield found.checkpoint.row
    options = _Options(threads, should_stop, objective, accumulation_steps, scratch)
    data = _open_data(config, device, listings, fingerprint, options)
    state = _begin_or_restore(config, device, data, found, options)
    yield from _train(state, data, folder, options)


def _is_finished(row: Epoch, config: Config) -> bool:
    return row.diverged is not None or row.epoch >= config.training.epochs


def _open_data(
    config: Config,
    device: torch.device,
    listings: Mapping[SplitName, Listing],
    fingerprint: str,
    options: _Options,
) -> TrainingData:
    layout = memory_format(device, config.training.precision)
    train, validate = (
        open_images(
            open_split(config.data, name, listings, options.scratch),
            device,
            layout,
            spare_memory=options.accumulation_steps > 1,
        )
        for name in ("train", "validate")
    )
    return TrainingData(train, validate, fingerprint)


def _begin_or_restore(
    config: Config,
    device: torch.device,
    data: TrainingData,
    found: FoundCheckpoint | None,
    options: _Options,
) -> TrainingState:
    with reproducible(options.threads):
        if found is None:
            return initial_state(config, device, data.train, options.accumulation_steps)
        _warn_if_not_reproducible(found.checkpoint.threads, options.threads, device)
        return restore_state(found.checkpoint, found.file, config, device)


def _train(
    state: TrainingState,
    data: TrainingData,
    folder: Path,
    options: _Options,
) -> Iterator[Epoch]:
    """Train the remaining epochs: train, validate, save, yield."""
    config = state.config
    writing = 0.0
    for epoch in range(state.epoch + 1, config.training.epochs + 1):
        if options.should_stop():
            return
        started = time.perf_counter()
        with reproducible(options.threads):
            metrics = train_epoch(state, data.train, epoch, options.accumulation_steps)
            metrics |= validate_epoch(state, data.validate, options.accumulation_steps)
        seconds = time.perf_counter() - started + writing
        row = epoch_row(metrics, epoch, seconds, config.model.codebook_size)
        state.epoch, state.best = epoch, better_epoch(state.best, row, options.objective)
        started = time.perf_counter()
        finished = to_checkpoint(state, row, options.threads, data.fingerprint)
        checkpoint.save(finished, folder)
        writing = time.perf_counter() - started
        yield row
        if row.diverged:
            break
    checkpoint.drop_previous(folder)


def epoch_row(metrics: dict[str, float], epoch: int, seconds: float, codes: int) -> Epoch:
    """The record of an epoch: its finite metrics, and the reason if the training diverged.

    Args:
        metrics: by name; those that are not finite are left out.
        epoch: counted from 1.
        seconds: how long the epoch took.
        codes: the size of the codebook, K.
    """
    return Epoch(
        epoch=epoch,
        metrics={name: value for name, value in metrics.items() if math.isfinite(value)},
        timestamp=time.time_ns() // 1_000_000,
        seconds=seconds,
        diverged=divergence_reason(metrics, epoch, codes),
    )


def divergence_reason(metrics: dict[str, float], epoch: int, codes: int) -> str | None:
    """Why the training should end: a loss that is not finite or too large, or a collapsed codebook.

    The first epoch may end with few codes in use, because the codebook is initialized before the
    encoder has learnt to give different vectors to different positions.

    Args:
        metrics: of the epoch, by name.
        epoch: counted from 1.
        codes: the size of the codebook, K.

    Returns:
        The reason in one line; None if the training should continue.
    """
    for name in ("train/loss", "val/loss"):
        if not math.isfinite(metrics[name]):
            return f"{name} is {metrics[name]} in epoch {epoch}"
    if (found := metrics["val/reconstruction_loss"]) > MAX_RECONSTRUCTION_LOSS:
        message = f"exploded: val/reconstruction_loss is {found:.4g} in epoch {epoch}"
        return f"{message}; predicting the mean of the images costs about 1 or 2"
    # A single code has perplexity 1. The threshold above 1 is lower for a small codebook.
    if epoch > 1 and metrics["val/perplexity"] < 1 + min(0.5, 0.1 * (codes - 1)):
        found = metrics["val/perplexity"]
        return f"codebook collapsed: val/perplexity {found:.2f} in epoch {epoch}"
    return None


def better_epoch(best: Best | None, row: Epoch, objective: Objective) -> Best | None:
    """The better of the best epoch so far and a new one; of equal ones the earlier."""
    value = row.metrics.get(objective.metric)
    if value is None or row.diverged:
        return best
    if best is not None:
        better = value > best.value if objective.maximize else value < best.value
        if not better:
            return best
    return Best(row.epoch, objective.metric, value)


def _warn_if_not_reproducible(before: int, threads: int, device: torch.device) -> None:
    if device.type == "cpu" and before != threads:
        log.warning(
            "resuming with %d CPU threads after %d: the result will be close to that of an "
            "uninterrupted training, but not equal bit for bit",
            threads,
            before,
        )
