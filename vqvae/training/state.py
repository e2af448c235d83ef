"""The state of a training run: made from a seed, kept in a checkpoint, made from that again."""

from dataclasses import dataclass
from pathlib import Path

import torch
from pydantic import BaseModel
from torch import nn

from vqvae.config import Config, TrainingConfig
from vqvae.data.batches import Images, split_batch
from vqvae.device import autocast, memory_format
from vqvae.errors import InputError
from vqvae.model.vqvae import VQVAE, reconstruction_scale_of
from vqvae.training.checkpoint import Best, Checkpoint, Epoch, check_tensors_fit


@dataclass
class TrainingState:
    """A training run between two epochs."""

    config: Config
    device: torch.device
    model: VQVAE
    optimizer: torch.optim.Optimizer
    generator: torch.Generator
    step: int = 0
    best: Best | None = None


def initial_state(
    config: Config, device: torch.device, train: Images, accumulation_steps: int = 1
) -> TrainingState:
    """A model from the seed, its codes on vectors of the first batch, computed in `parts`."""
    run = _build_state(config, device, seed=config.training.seed)
    sample = train.sample()
    whole = torch.cat([images.flatten() for images in sample])
    run.model.reconstruction_scale.copy_(reconstruction_scale_of(config.model, whole))
    first = next(train.shuffled(config.training.batch_size, config.training.seed, epoch=1))
    with torch.no_grad(), autocast(device, config.training):
        vectors = torch.cat(
            [run.model.to_vectors(part) for part in split_batch(first, accumulation_steps)]
        )
        run.model.quantizer.init_codebook_(vectors, run.generator)
    return run


def restore_state(
    previous: Checkpoint, path: Path, config: Config, device: torch.device
) -> TrainingState:
    """The run as it was after `previous`, read from `path`.

    Raises:
        InputError: its tensors do not fit its configuration.
    """
    run = _build_state(config, device, seed=0)
    with check_tensors_fit(path):
        run.model.load_state_dict(previous.model)
        run.optimizer.load_state_dict(dict(previous.optimizer))
        run.generator.set_state(previous.random)
    run.step, run.best = previous.step, previous.best
    return run


def to_checkpoint(run: TrainingState, row: Epoch, threads: int, data: str) -> Checkpoint:
    """The run as it is after `row`, computed with `threads` on the data of that fingerprint."""
    return Checkpoint(
        config=run.config,
        model=run.model.state_dict(),
        optimizer=run.optimizer.state_dict(),
        random=run.generator.get_state(),
        step=run.step,
        best=run.best,
        row=row,
        threads=threads,
        data=data,
    )


def refuse_other_config(config: Config, found: Config, folder: Path) -> None:
    """Let a run move to other paths and devices, but not become another run.

    Raises:
        InputError: a key of the model or of the training differs.
    """
    for section in ("model", "training"):
        asked, stored = getattr(config, section), getattr(found, section)
        for name in _differing(asked, stored):
            raise InputError(
                f"{folder}: holds a run with {section}.{name} = {getattr(stored, name)!r}, not "
                f"{getattr(asked, name)!r}; give another folder, or the configuration it began with"
            )


def refuse_other_metric(metric: str, best: Best | None, folder: Path) -> None:
    """Do not go on from a best epoch that another metric chose: its `metric` may be beaten.

    Raises:
        InputError: `best` was chosen by another metric.
    """
    if best is not None and best.metric != metric:
        raise InputError(
            f"{folder}: its best.pt was chosen by {best.metric}, not {metric}; "
            "give another folder, or the metric it began with"
        )


def refuse_other_data(fingerprint: str, previous: Checkpoint, folder: Path, root: Path) -> None:
    """Let the data move, but not become other data.

    Raises:
        InputError: names or sizes of the slices differ.
    """
    if previous.data is not None and previous.data != fingerprint:
        raise InputError(
            f"{folder}: holds a run on other data than {root} has now (slices came, went or "
            "changed); give another folder, or the data it began with"
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


def _differing(one: BaseModel, other: BaseModel) -> list[str]:
    return [
        name
        for name in type(one).model_fields
        if name != "device" and getattr(one, name) != getattr(other, name)
    ]
