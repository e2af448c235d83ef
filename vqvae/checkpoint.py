"""What an epoch leaves on disk: all that is needed to go on as if nothing had happened."""

import io
import pickle
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from pydantic import ValidationError
from torch import Tensor

from vqvae.config import Config, describe
from vqvae.errors import InputError
from vqvae.files import clear_drafts, share_whole, write_whole
from vqvae.model import VQVAE

LAST, BEST = "last.pt", "best.pt"

_NOT_A_CHECKPOINT = (
    *(pickle.UnpicklingError, EOFError, RuntimeError),
    *(LookupError, TypeError, ValueError, AttributeError),
)
"""What torch's reader raises, depending on the byte at which it stumbles."""


@dataclass(frozen=True)
class Epoch:
    """One finished epoch: the row that its checkpoint carries."""

    epoch: int
    """Counted from 1."""
    metrics: Mapping[str, float]
    """Figures by name, `group/name`; one that is not a finite number is left out."""
    timestamp: int
    """When the epoch ended: milliseconds since 1970."""
    seconds: float
    """Training and validation, and the writing of the checkpoint before: the epoch's own
    checkpoint holds this figure, so its writing counts to the next epoch."""
    diverged: str | None = None
    """Why going on is pointless."""


@dataclass(frozen=True)
class Best:
    """The best epoch so far, and the metric by which it is."""

    epoch: int
    metric: str
    value: float


@dataclass(frozen=True)
class Checkpoint:
    """A training run after an epoch."""

    config: Config
    model: Mapping[str, Tensor]
    optimizer: Mapping[str, Any]
    random: Tensor
    """State of the generator that the codebook draws from: the one source of chance that is not
    made anew from seed and epoch."""
    step: int
    """Batches so far: the place in the learning rate's schedule."""
    best: Best | None
    row: Epoch


def save(checkpoint: Checkpoint, folder: Path) -> None:
    """Write `last.pt`, and give it the name `best.pt` too if its epoch is the best so far."""
    buffer = io.BytesIO()
    torch.save(_plain(checkpoint), buffer)
    write_whole(folder / LAST, buffer.getvalue())
    _settle_best(checkpoint, folder)


def resume(folder: Path, continue_from: Path | None) -> Checkpoint | None:
    """The checkpoint to go on from, `folder`'s own or else the one of `continue_from`.

    The latter's files are carried over into `folder`, the best first: whoever is killed in
    between finds no `last.pt` and carries both over again.

    Raises:
        InputError: there is one, and it is not a checkpoint of this program.
    """
    clear_drafts(folder)
    if (folder / LAST).exists():
        checkpoint = load(folder / LAST)
        _settle_best(checkpoint, folder)
        return checkpoint
    if continue_from is None or not (continue_from / LAST).exists():
        return None
    if (continue_from / BEST).exists():
        share_whole(continue_from / BEST, folder / BEST)
    share_whole(continue_from / LAST, folder / LAST)
    return resume(folder, None)


def load(path: Path) -> Checkpoint:
    """Read a checkpoint, tensors on the CPU; nothing in it is executed.

    Raises:
        InputError: there is no such file, or it is not a checkpoint of this program.
    """
    try:
        found = torch.load(path, map_location="cpu", weights_only=True)
        return _checkpoint(found)
    except FileNotFoundError:
        raise InputError(f"{path}: no such checkpoint") from None
    except ValidationError as error:
        raise InputError(f"{path}: a checkpoint of another version: {describe(error)}") from error
    except _NOT_A_CHECKPOINT as error:
        raise InputError(f"{path}: not a checkpoint of this program") from error


def load_model(place: Path) -> tuple[VQVAE, Checkpoint]:
    """The model of a checkpoint file, or of a folder's `best.pt`, ready to evaluate on the CPU.

    Raises:
        InputError: there is none.
    """
    checkpoint = load(place / BEST if place.is_dir() else place)
    model = VQVAE(checkpoint.config.model)
    model.load_state_dict(checkpoint.model)
    return model.eval(), checkpoint


def _settle_best(checkpoint: Checkpoint, folder: Path) -> None:
    # Done again after a restart: the process may have been killed between the two names.
    if checkpoint.best is not None and checkpoint.best.epoch == checkpoint.row.epoch:
        share_whole(folder / LAST, folder / BEST)


def _plain(checkpoint: Checkpoint) -> dict[str, Any]:
    """Tensors, numbers, strings and dicts alone: what loads without unpickling classes."""
    return {
        "config": checkpoint.config.model_dump(mode="json"),
        "model": dict(checkpoint.model),
        "optimizer": dict(checkpoint.optimizer),
        "random": checkpoint.random,
        "step": checkpoint.step,
        "best": None if checkpoint.best is None else asdict(checkpoint.best),
        "row": asdict(checkpoint.row),
    }


def _checkpoint(found: dict[str, Any]) -> Checkpoint:
    return Checkpoint(
        config=Config.model_validate(found["config"]),
        model=found["model"],
        optimizer=found["optimizer"],
        random=found["random"],
        step=found["step"],
        best=None if found["best"] is None else Best(**found["best"]),
        row=Epoch(**found["row"]),
    )
