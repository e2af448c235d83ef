"""The state of a training: created from a seed, saved to a checkpoint, restored from it."""

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from vqvae.config import Config, TrainingConfig
from vqvae.data.batches import Images, split_batch
from vqvae.device import autocast, memory_format
from vqvae.model.reconstruction_loss import reconstruction_scale_of
from vqvae.model.vqvae import VQVAE
from vqvae.training.checkpoint import Best, Checkpoint, Epoch, check_tensors_fit


@dataclass
class TrainingState:
    """The state of a training between two epochs."""

    config: Config
    device: torch.device
    model: VQVAE
    optimizer: torch.optim.Optimizer
    generator: torch.Generator
    """On the CPU; the codebook samples from it."""
    epoch: int = 0
    """Finished epochs."""
    step: int = 0
    """Finished training steps."""
    best: Best | None = None


def initial_state(
    config: Config, device: torch.device, train: Images, accumulation_steps: int = 1
) -> TrainingState:
    """The state before the first epoch.

    The weights come from the seed, `reconstruction_scale` from a sample of the training images, and
    the code vectors from the encoder vectors of the first batch.
    """
    state = _build_state(config, device, seed=config.training.seed)
    pixels = torch.cat([images.flatten() for images in train.sample()])
    state.model.reconstruction_scale.copy_(reconstruction_scale_of(config.model, pixels))
    first = next(train.shuffled(config.training.batch_size, config.training.seed, epoch=1))
    with torch.no_grad(), autocast(device, config.training):
        micro_batches = split_batch(first, accumulation_steps)
        vectors = torch.cat([state.model.to_vectors(some) for some in micro_batches])
        state.model.quantizer.init_codebook_(vectors, state.generator)
    return state


def restore_state(
    previous: Checkpoint, path: Path, config: Config, device: torch.device
) -> TrainingState:
    """The state of the training after the checkpoint `previous`, which was read from `path`.

    Raises:
        InputError: its tensors do not fit its configuration.
    """
    state = _build_state(config, device, seed=0)
    with check_tensors_fit(path):
        state.model.load_state_dict(previous.model)
        state.optimizer.load_state_dict(dict(previous.optimizer))
        state.generator.set_state(previous.random)
    state.epoch, state.step, state.best = previous.row.epoch, previous.step, previous.best
    return state


def to_checkpoint(state: TrainingState, row: Epoch, threads: int, data: str) -> Checkpoint:
    """The checkpoint of the current state.

    Args:
        state: the training.
        row: its latest epoch.
        threads: the number of CPU threads that computed the epoch.
        data: the fingerprint of the data.
    """
    return Checkpoint(
        config=state.config,
        model=state.model.state_dict(),
        optimizer=state.optimizer.state_dict(),
        random=state.generator.get_state(),
        step=state.step,
        best=state.best,
        row=row,
        threads=threads,
        data=data,
    )


def _build_state(config: Config, device: torch.device, seed: int) -> TrainingState:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = VQVAE(config.model)
    layout = memory_format(device, config.training.precision)
    model = model.to(device=device, memory_format=layout)  # type: ignore[call-overload]
    return TrainingState(
        config=config,
        device=device,
        model=model,
        optimizer=build_optimizer(config.training, model),
        generator=torch.Generator().manual_seed(seed),
    )


def build_optimizer(config: TrainingConfig, model: nn.Module) -> torch.optim.Optimizer:
    """The optimizer that the configuration names."""
    match config.optimizer:
        case "adam":
            return torch.optim.Adam(model.parameters(), lr=config.learning_rate)
        case "sgd":
            return torch.optim.SGD(model.parameters(), lr=config.learning_rate, momentum=0.9)
