"""Training: a generator of epochs, each on disk before it is handed out."""

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
"""A reconstruction loss of the validation split that ends a training. It is in units of the images'
own spread: answering each image with the mean costs about 1, the worst image there can be some
tens. What lies beyond is no image, and steps of clipped length do not lead back from there."""


@dataclass(frozen=True)
class TrainingData:
    """What a training reads."""

    train: Images
    validate: Images
    fingerprint: str
    """Of names and sizes of all slices."""


@dataclass(frozen=True)
class _Options:
    """What an epoch is computed with, and until when; as `fit` takes them."""

    threads: int
    should_stop: Callable[[], bool]
    objective: Objective
    accumulation_steps: int


def fit(
    config: Config,
    folder: Path,
    *,
    continue_from: Sequence[Path] = (),
    threads: int,
    should_stop: Callable[[], bool] = lambda: False,
    objective: Objective = HIGHEST_SSIM,
    accumulation_steps: int = 1,
) -> Iterator[Epoch]:
    """Train, an epoch at a time, keeping `last.pt` and `best.pt` (by `objective`) in `folder`.

    An epoch's checkpoint, with its row inside, is on disk before the row is yielded. Where
    `folder`, or else one of `continue_from` (the latest attempt first; only read), holds a whole
    checkpoint, its row is yielded first and training continues: on a CPU with as many `threads`
    to the same end, bit for bit. A row with a reason in `diverged` is the last. `should_stop` is
    asked before each epoch. Each batch is computed in `accumulation_steps` micro-batches whose
    gradients are added up: the same step but for rounding, with less memory.

    Raises:
        InputError: data, configuration and checkpoint do not fit each other, or the checkpoint's
            best epoch was chosen by another metric.
    """
    options = _Options(threads, should_stop, objective, accumulation_steps)
    device = choose_device(config.training.device)
    found = find_checkpoint(folder, continue_from)
    if found is not None:
        refuse_other_training(found, config, objective)
        if _is_finished(found.checkpoint.row, config):
            # Before the data are looked for: they need not be there any more.
            adopt(found, folder)
            yield found.checkpoint.row
            checkpoint.drop_previous(folder)
            return
    listings = list_splits(config.data.root)
    if found is None:
        clear_drafts(folder)
    else:
        refuse_other_data(found, fingerprint_of(listings), config.data.root)
        adopt(found, folder)
        yield found.checkpoint.row
    data = _open_data(config, device, listings, spare_memory=accumulation_steps > 1)
    with reproducible(threads):
        state = _begin_or_restore(config, device, data, found, threads, accumulation_steps)
    yield from _train(state, data, folder, options)


def _is_finished(row: Epoch, config: Config) -> bool:
    return row.diverged is not None or row.epoch >= config.training.epochs


def _open_data(
    config: Config,
    device: torch.device,
    listings: Mapping[SplitName, Listing],
    *,
    spare_memory: bool,
) -> TrainingData:
    layout = memory_format(device, config.training.precision)
    train, validate = (
        open_images(
            open_split(config.data, name, listings), device, layout, spare_memory=spare_memory
        )
        for name in ("train", "validate")
    )
    return TrainingData(train, validate, fingerprint_of(listings))


def _begin_or_restore(
    config: Config,
    device: torch.device,
    data: TrainingData,
    found: FoundCheckpoint | None,
    threads: int,
    accumulation_steps: int,
) -> TrainingState:
    if found is None:
        return initial_state(config, device, data.train, accumulation_steps)
    _warn_if_not_reproducible(found.checkpoint.threads, threads, device)
    return restore_state(found.checkpoint, found.file, config, device)


def _train(
    state: TrainingState,
    data: TrainingData,
    folder: Path,
    options: _Options,
) -> Iterator[Epoch]:
    """The epochs that are left."""
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
    """What is kept of an epoch: the figures that are numbers, and why it is the last, if it is."""
    return Epoch(
        epoch=epoch,
        metrics={name: value for name, value in metrics.items() if math.isfinite(value)},
        timestamp=time.time_ns() // 1_000_000,
        seconds=seconds,
        diverged=divergence_reason(metrics, epoch, codes),
    )


def divergence_reason(metrics: dict[str, float], epoch: int, codes: int) -> str | None:
    """Why going on is pointless: a loss beyond all bounds, or one code doing all the work.

    The first epoch may end with few codes in use: the codes start before the encoder has learnt
    to tell one place from another.
    """
    for name in ("train/loss", "val/loss"):
        if not math.isfinite(metrics[name]):
            return f"{name} is {metrics[name]} in epoch {epoch}"
    if (found := metrics["val/reconstruction_loss"]) > MAX_RECONSTRUCTION_LOSS:
        message = f"exploded: val/reconstruction_loss is {found:.4g} in epoch {epoch}"
        return f"{message}; a model that answers with the mean has about 1"
    # One code alone has perplexity 1; how much more is more than one depends on how few there are.
    if epoch > 1 and metrics["val/perplexity"] < 1 + min(0.5, 0.1 * (codes - 1)):
        found = metrics["val/perplexity"]
        return f"codebook collapsed: val/perplexity {found:.2f} in epoch {epoch}"
    return None


def better_epoch(best: Best | None, row: Epoch, objective: Objective) -> Best | None:
    """The better of two epochs; of equals the earlier."""
    value = row.metrics.get(objective.metric)
    if value is None or row.diverged:
        return best
    if best is not None:
        better = value > best.value if objective.maximize else value < best.value
        if not better:
            return best
    return Best(row.epoch, objective.metric, value)


def _warn_if_not_reproducible(before: int | None, threads: int, device: torch.device) -> None:
    if device.type == "cpu" and before not in (None, threads):
        log.warning(
            "going on with %d CPU threads after %d: near to, but not bit for bit what it would "
            "have been",
            threads,
            before,
        )
