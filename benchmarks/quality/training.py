"""Training a model for the same time, or the same number of epochs, as the others."""

import time
from collections.abc import Iterator
from dataclasses import dataclass

import torch

from benchmarks.quality.models import Model
from vqvae.config import TrainingConfig
from vqvae.data.batches import Images
from vqvae.training.epoch import learning_rate

_POINTS = 10_000


@dataclass(frozen=True)
class Budget:
    """How long to train: `seconds` of training steps, or `epochs`."""

    seconds: float | None
    epochs: int | None


@dataclass(frozen=True)
class Progress:
    """How far a training is, in seconds of training steps (scoring is not counted)."""

    seconds: float
    epochs: int
    steps: int
    images: int


def train(
    model: Model, data: Images, training: TrainingConfig, budget: Budget
) -> Iterator[Progress]:
    """Train, yielding after each epoch and at the end.

    The schedule spreads over the whole budget, for every model alike: over the time if the budget
    is one of time.
    """
    steps_per_epoch = data.steps(training.batch_size)
    seconds, step, seen, epoch = 0.0, 0, 0, 0
    while True:
        epoch += 1
        model.mode(training=True)
        started = _now(data.device)
        for images in data.shuffled(training.batch_size, training.seed, epoch):
            elapsed = seconds + time.perf_counter() - started
            share = _share(budget, elapsed, step / steps_per_epoch)
            if share >= 1:
                yield Progress(elapsed, epoch - 1, step, seen)
                return
            model.step(images, learning_rate(training, int(share * _POINTS), _POINTS))
            step, seen = step + 1, seen + len(images)
        seconds += _now(data.device) - started
        yield Progress(seconds, epoch, step, seen)
        if _share(budget, seconds, epoch) >= 1:
            return


def _share(budget: Budget, seconds: float, epochs: float) -> float:
    if budget.seconds is not None:
        return seconds / budget.seconds
    return epochs / (budget.epochs or 1)


def _now(device: torch.device) -> float:
    """The time after all work of the device is done."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()
