"""The checkpoint of an epoch: everything that is needed to resume a training exactly."""

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
from vqvae.training.code_prior_file import read_code_prior
from vqvae.training.error_kinds import classify_error

LAST, BEST = "last.pt", "best.pt"
PREVIOUS, PREVIOUS_BEST = "previous.pt", "previous-best.pt"
"""The two checkpoints before the latest epoch, to resume from if the latest ones are damaged. They
are hard links to the same files, so that keeping them writes nothing."""

_NOT_A_CHECKPOINT = (
    *(pickle.UnpicklingError, zipfile.BadZipFile, struct.error, EOFError, RuntimeError),
    *(LookupError, TypeError, ValueError, AttributeError, OverflowError),
)
"""What torch's reader raises for a damaged file; which of them depends on the damaged byte."""


@dataclass(frozen=True)
class Epoch:
    """One finished epoch; it is stored in its checkpoint as `row`."""

    epoch: int
    """Counted from 1."""
    metrics: Mapping[str, float]
    """Metrics by name, `train/…` and `val/…`; those that are not finite are left out."""
    timestamp: int
    """When the epoch ended: milliseconds since 1970-01-01 UTC."""
    seconds: float
    """The duration of training and validation, and of writing the previous checkpoint: this number
    is inside the epoch's own checkpoint, whose writing therefore counts to the next epoch."""
    diverged: str | None = None
    """Why the training ends with this epoch; None if it has not diverged."""


@dataclass(frozen=True)
class Objective:
    """The metric by which the best epoch is chosen."""

    metric: str = "val/ssim"
    """One of an epoch's metrics."""
    maximize: bool = True
    """Whether a higher value is better; else a lower one is."""


HIGHEST_SSIM = Objective()


@dataclass(frozen=True)
class Best:
    """The best epoch so far, and the value of the metric by which it was chosen."""

    epoch: int
    metric: str
    value: float


@dataclass(frozen=True)
class Checkpoint:
    """The state of a training after an epoch."""

    config: Config
    model: Mapping[str, Tensor]
    """The model's `state_dict`."""
    optimizer: Mapping[str, Any]
    """The optimizer's `state_dict`."""
    random: Tensor
    """The state of the generator that the codebook samples from: the only source of random numbers
    that is not created anew from seed and epoch."""
    step: int
    """Training steps so far; the schedule of the learning rate depends on it."""
    best: Best | None
    row: Epoch
    """The epoch itself."""
    threads: int
    """The number of CPU threads that computed the epoch."""
    data: str
    """The fingerprint of the data, which may move to another folder."""

    @property
    def is_best(self) -> bool:
        """Whether its epoch is the best so far."""
        return self.best is not None and self.best.epoch == self.row.epoch


def save(checkpoint: Checkpoint, folder: Path) -> None:
    """Write `last.pt`, and link it as `best.pt` too if its epoch is the best so far.

    The files that had these names become `previous.pt` and `previous-best.pt`.
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
    """Remove the previous checkpoints: a finished training is never resumed."""
    for name in (PREVIOUS, PREVIOUS_BEST):
        (folder / name).unlink(missing_ok=True)


def load(path: Path) -> Checkpoint:
    """Read a checkpoint, with tensors on the CPU. Nothing in the file is executed.

    Raises:
        InputError: there is no such file, it is not a checkpoint of this program, or it is damaged.
        UnavailableError: the file exists and cannot be read now.
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
    """Check a checkpoint's bytes against the checksums of the zip file; torch does not check."""
    with zipfile.ZipFile(content) as archive:
        if (damaged := archive.testzip()) is not None:
            raise zipfile.BadZipFile(f"the checksum of {damaged} is wrong")
    content.seek(0)


def load_model(source: Path) -> tuple[VQVAE, Checkpoint]:
    """The model of a checkpoint with its code statistics, on the CPU and in evaluation mode.

    Args:
        source: a checkpoint file, or a folder with a `best.pt`.

    Raises:
        InputError: there is no checkpoint, or its tensors do not fit its configuration.
        UnavailableError: it cannot be read now.
    """
    path = source / BEST if source.is_dir() else source
    checkpoint = load(path)
    model = VQVAE(checkpoint.config.model)
    with check_tensors_fit(path):
        model.load_state_dict(checkpoint.model)
    model.code_prior = read_code_prior(path.parent, model)
    return model.eval(), checkpoint


@contextmanager
def check_tensors_fit(path: Path) -> Iterator[None]:
    """Turn torch's errors about tensors that do not fit into one line that names their file.

    Raises:
        InputError: the block loads tensors that do not fit the model, optimizer or generator.
    """
    try:
        yield
    except _NOT_A_CHECKPOINT as error:
        raise InputError(f"{path}: its tensors do not fit its configuration") from error


def _to_plain(checkpoint: Checkpoint) -> dict[str, Any]:
    """Only tensors, numbers, strings and dicts, which load without unpickling classes."""
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


def _from_plain(stored: dict[str, Any]) -> Checkpoint:
    return Checkpoint(
        config=Config.model_validate(stored["config"]),
        model=stored["model"],
        optimizer=stored["optimizer"],
        random=stored["random"],
        step=stored["step"],
        best=None if stored["best"] is None else Best(**stored["best"]),
        row=Epoch(**stored["row"]),
        threads=stored["threads"],
        data=stored["data"],
    )
