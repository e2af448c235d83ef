"""What an epoch leaves on disk: all that is needed to go on as if nothing had happened."""

import io
import pickle
import struct
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from pydantic import ValidationError
from torch import Tensor

from vqvae.config import Config, describe
from vqvae.errors import InputError, UnavailableError
from vqvae.files import share_whole, write_whole
from vqvae.model.vqvae import VQVAE
from vqvae.training.failures import classify_error

LAST, BEST = "last.pt", "best.pt"
PREVIOUS, PREVIOUS_BEST = "previous.pt", "previous-best.pt"
"""What the two were before the latest epoch: second names of the same files, so that they cost no
writing. A checkpoint that was damaged has the one before it to fall back on."""

_NOT_A_CHECKPOINT = (
    *(pickle.UnpicklingError, zipfile.BadZipFile, struct.error, EOFError, RuntimeError),
    *(LookupError, TypeError, ValueError, AttributeError, OverflowError),
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
class Objective:
    """By what the best epoch is chosen."""

    metric: str = "val/ssim"
    """One of an epoch's metrics."""
    maximize: bool = True
    """Whether the highest is the best, or the lowest."""


HIGHEST_SSIM = Objective()


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

    @property
    def is_best(self) -> bool:
        """Whether its own epoch is the best so far."""
        return self.best is not None and self.best.epoch == self.row.epoch


def save(checkpoint: Checkpoint, folder: Path) -> None:
    """Write `last.pt`, and give it the name `best.pt` too if its epoch is the best so far.

    What had the names before keeps others, until the next checkpoint.
    """
    buffer = io.BytesIO()
    torch.save(_to_plain(checkpoint), buffer)
    if checkpoint.is_best and (folder / BEST).exists():
        share_whole(folder / BEST, folder / PREVIOUS_BEST)
    elif not checkpoint.is_best:
        (folder / PREVIOUS_BEST).unlink(missing_ok=True)
    if (folder / LAST).exists():
        share_whole(folder / LAST, folder / PREVIOUS)
    write_whole(folder / LAST, buffer.getvalue())
    if checkpoint.is_best:
        share_whole(folder / LAST, folder / BEST)


def drop_previous(folder: Path) -> None:
    """Remove what is only there to fall back on: nobody goes on from a finished training."""
    for name in (PREVIOUS, PREVIOUS_BEST):
        (folder / name).unlink(missing_ok=True)


def load(path: Path) -> Checkpoint:
    """Read a checkpoint, tensors on the CPU; nothing in it is executed.

    Raises:
        InputError: there is no such file, or it is not a checkpoint of this program, or a
            damaged one.
        UnavailableError: it is there and cannot be read now.
    """
    try:
        content = io.BytesIO(path.read_bytes())
        _verify_checksums(content)
        return _from_plain(torch.load(content, map_location="cpu", weights_only=True))
    except (FileNotFoundError, NotADirectoryError):
        raise InputError(f"{path}: no such checkpoint") from None
    except OSError as error:
        raise UnavailableError(f"{path}: cannot be read ({error.strerror or error})") from error
    except ValidationError as error:
        raise InputError(f"{path}: a checkpoint of another version: {describe(error)}") from error
    except _NOT_A_CHECKPOINT as error:
        if classify_error(error) == "out_of_memory":
            raise
        raise InputError(f"{path}: not a checkpoint of this program") from error


def _verify_checksums(content: io.BytesIO) -> None:
    """Hold a checkpoint's bytes against their checksums, which torch itself does not look at."""
    with zipfile.ZipFile(content) as archive:
        if (damaged := archive.testzip()) is not None:
            raise zipfile.BadZipFile(f"{damaged} is not what was written")
    content.seek(0)


def load_model(place: Path) -> tuple[VQVAE, Checkpoint]:
    """The model of a checkpoint file, or of a folder's `best.pt`, ready to evaluate on the CPU.

    Raises:
        InputError: there is none, or its tensors do not fit its configuration.
    """
    path = place / BEST if place.is_dir() else place
    checkpoint = load(path)
    model = VQVAE(checkpoint.config.model)
    with check_tensors_fit(path):
        model.load_state_dict(checkpoint.model)
    return model.eval(), checkpoint


@contextmanager
def check_tensors_fit(path: Path) -> Iterator[None]:
    """What torch says of tensors that do not fit, in a line that names their file.

    Raises:
        InputError: they do not.
    """
    try:
        yield
    except _NOT_A_CHECKPOINT as error:
        raise InputError(f"{path}: its tensors do not fit its configuration") from error


def _to_plain(checkpoint: Checkpoint) -> dict[str, Any]:
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


def _from_plain(found: dict[str, Any]) -> Checkpoint:
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
