"""The checkpoints that `EpochTrainer` writes: complete on disk, and checked when they are read.

A file has three parts: a line with the SHA-256 digest of all that follows, a line of JSON with the
epoch's row and the best epoch so far, and the state as the trainer wrote it.
"""

import json
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path

from sweeps.filesystem import atomic
from sweeps.trainer import FinishedEpoch

LAST, BEST = "last.pt", "best.pt"
PREVIOUS, PREVIOUS_BEST = "previous.pt", "previous-best.pt"
"""The checkpoints before the latest ones, to continue from if those are damaged. They are further
names of the same files, so keeping them writes nothing."""


class DamagedCheckpointError(ValueError):
    """A file is not a complete checkpoint."""


@dataclass(frozen=True)
class BestEpoch:
    """The best epoch so far, and its value of the objective's metric."""

    epoch: int
    value: float


@dataclass(frozen=True)
class Checkpoint:
    """A training after one epoch.

    Attributes:
        row: the epoch.
        best: the best epoch so far; None if no epoch had a usable value.
        state: the state of the training, as the trainer saved it.
    """

    row: FinishedEpoch
    best: BestEpoch | None
    state: bytes

    @property
    def is_best(self) -> bool:
        """Whether its epoch is the best so far."""
        return self.best is not None and self.best.epoch == self.row.epoch


@dataclass(frozen=True)
class FoundCheckpoint:
    """An intact checkpoint, its file, and the file of its best epoch (None if it has none)."""

    checkpoint: Checkpoint
    file: Path
    best: Path | None


def write_checkpoint(checkpoint: Checkpoint, folder: Path) -> None:
    """Write `last.pt`, and `best.pt` if the epoch is the best so far; keep the ones before."""
    if not checkpoint.is_best:  # `best.pt` stays, and is the best epoch of `previous.pt`, too
        (folder / PREVIOUS_BEST).unlink(missing_ok=True)
    elif (folder / BEST).exists():
        atomic.share(folder / BEST, folder / PREVIOUS_BEST)
    if (folder / LAST).exists():
        atomic.share(folder / LAST, folder / PREVIOUS)
    atomic.write(folder / LAST, _encode(checkpoint))
    if checkpoint.is_best:
        atomic.share(folder / LAST, folder / BEST)


def read_checkpoint(path: Path) -> Checkpoint:
    """Read a checkpoint; nothing in it is executed.

    Raises:
        FileNotFoundError: there is no such file.
        OSError: the file cannot be read now.
        DamagedCheckpointError: it is not a complete checkpoint.
    """
    digest, _, content = path.read_bytes().partition(b"\n")
    if sha256(content).hexdigest().encode() != digest:
        raise DamagedCheckpointError(f"{path}: is not a complete checkpoint")
    header, _, state = content.partition(b"\n")
    stored = json.loads(header)
    best = None if stored["best"] is None else BestEpoch(**stored["best"])
    return Checkpoint(FinishedEpoch(**stored["row"]), best, state)


def find_checkpoint(folders: Sequence[Path]) -> FoundCheckpoint | None:
    """Return the latest intact checkpoint of the first folder that has one; None if none has.

    Raises:
        OSError: a file cannot be read now. It may be intact, so nothing earlier is used.
    """
    for file in (folder / name for folder in folders for name in (LAST, PREVIOUS)):
        with suppress(FileNotFoundError, DamagedCheckpointError):
            checkpoint = read_checkpoint(file)
            return FoundCheckpoint(checkpoint, file, _file_of_best(checkpoint, file))
    return None


def _file_of_best(checkpoint: Checkpoint, file: Path) -> Path | None:
    """Return the file of the best epoch; a checkpoint whose best model is lost is of no use."""
    if checkpoint.best is None or checkpoint.is_best:
        return file if checkpoint.is_best else None
    for best in (file.parent / BEST, file.parent / PREVIOUS_BEST):
        with suppress(FileNotFoundError, DamagedCheckpointError):
            if read_checkpoint(best).row.epoch == checkpoint.best.epoch:
                return best
    raise DamagedCheckpointError(f"{file}: the checkpoint of its best epoch is missing or damaged")


def adopt_checkpoint(found: FoundCheckpoint, folder: Path) -> None:
    """Make a checkpoint the `last.pt` of `folder`, and that of its best epoch the `best.pt`.

    `best.pt` comes first: a process that is killed in between finds the same checkpoint again.
    """
    for file, name in ((found.best, BEST), (found.file, LAST)):
        if file is not None and file != folder / name:
            atomic.share(file, folder / name)


def _encode(checkpoint: Checkpoint) -> bytes:
    best = None if checkpoint.best is None else asdict(checkpoint.best)
    header = json.dumps({"row": asdict(checkpoint.row), "best": best})
    content = header.encode() + b"\n" + checkpoint.state
    return sha256(content).hexdigest().encode() + b"\n" + content
