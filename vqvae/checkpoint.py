"""What an epoch leaves on disk: all that is needed to go on as if nothing had happened."""

import io
import pickle
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
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
    threads: int | None
    """How many CPU threads computed the epoch; None in an old checkpoint."""
    data: str | None
    """The data's fingerprint, wherever they lay; None in an old checkpoint."""


def save(checkpoint: Checkpoint, folder: Path) -> None:
    """Write `last.pt`, and give it the name `best.pt` too if its epoch is the best so far."""
    buffer = io.BytesIO()
    torch.save(_plain(checkpoint), buffer)
    write_whole(folder / LAST, buffer.getvalue())
    _settle_best(checkpoint, folder)


def find(folder: Path, continue_from: Path | None) -> Path | None:
    """The folder whose checkpoint is to be gone on from: `folder`, or else `continue_from`."""
    places = (folder, continue_from)
    return next((place for place in places if place and (place / LAST).exists()), None)


def settle(checkpoint: Checkpoint, place: Path, folder: Path) -> None:
    """Put the files of `place` right, whose last checkpoint this is, and have them in `folder`.

    They are carried over the best first: whoever is killed in between finds no `last.pt` and
    carries both over again.
    """
    clear_drafts(folder)
    if place != folder:
        if (place / BEST).exists():
            share_whole(place / BEST, folder / BEST)
        share_whole(place / LAST, folder / LAST)
    _settle_best(checkpoint, folder)


def load(path: Path) -> Checkpoint:
    """Read a checkpoint, tensors on the CPU; nothing in it is executed.

    Raises:
        InputError: there is no such file, or it is not a checkpoint of this program.
    """
    try:
        found = torch.load(path, map_location="cpu", weights_only=True)
        return _checkpoint(found)
    except (FileNotFoundError, NotADirectoryError):
        raise InputError(f"{path}: no such checkpoint") from None
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror or error})") from error
    except ValidationError as error:
        raise InputError(f"{path}: a checkpoint of another version: {describe(error)}") from error
    except _NOT_A_CHECKPOINT as error:
        raise InputError(f"{path}: not a checkpoint of this program") from error


def load_model(place: Path) -> tuple[VQVAE, Checkpoint]:
    """The model of a checkpoint file, or of a folder's `best.pt`, ready to evaluate on the CPU.

    Raises:
        InputError: there is none, or its tensors do not fit its configuration.
    """
    path = place / BEST if place.is_dir() else place
    checkpoint = load(path)
    model = VQVAE(checkpoint.config.model)
    with fitting(path):
        model.load_state_dict(checkpoint.model)
    return model.eval(), checkpoint


@contextmanager
def fitting(path: Path) -> Iterator[None]:
    """What torch says of tensors that do not fit, in a line that names their file.

    Raises:
        InputError: they do not.
    """
    try:
        yield
    except _NOT_A_CHECKPOINT as error:
        raise InputError(f"{path}: its tensors do not fit its configuration") from error


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
        "threads": checkpoint.threads,
        "data": checkpoint.data,
    }


def _checkpoint(found: dict[str, Any]) -> Checkpoint:
    return Checkpoint(
        config=Config.model_validate(found["config"]),
        model=found["model"],
        optimizer=found["optimizer"],
        random=found["random"],
        step=found["step"],
        best=_best(found["best"]),
        row=Epoch(**found["row"]),
        threads=found.get("threads"),
        data=found.get("data"),
    )


def _best(found: dict[str, Any] | None) -> Best | None:
    if found is None:
        return None
    if "ssim" in found:  # as long as there was no other metric to choose by
        return Best(found["epoch"], "val/ssim", found["ssim"])
    return Best(**found)
