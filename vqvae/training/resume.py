"""Which checkpoint a training goes on from, and whether it may."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from vqvae.config import Config
from vqvae.errors import InputError, UnavailableError
from vqvae.files import clear_drafts, share_whole
from vqvae.training.checkpoint import (
    BEST,
    LAST,
    PREVIOUS,
    PREVIOUS_BEST,
    Checkpoint,
    Objective,
    load,
)

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class FoundCheckpoint:
    """A checkpoint to go on from."""

    checkpoint: Checkpoint
    file: Path
    best: Path | None
    """The file of its best epoch; None where it has none."""


def find_checkpoint(folder: Path, earlier: Sequence[Path]) -> FoundCheckpoint | None:
    """The latest checkpoint that is whole: of `folder`, or else of the first of `earlier` with one.

    Returns:
        None where training begins: there is no checkpoint, or only damaged ones of `earlier`.

    Raises:
        InputError: `folder` itself has damaged ones alone. They may be somebody's all the same,
            and are not written over.
        UnavailableError: one is there and cannot be read now.
    """
    complaints: dict[Path, InputError] = {}
    for file in (place / name for place in (folder, *earlier) for name in (LAST, PREVIOUS)):
        if not file.exists():
            continue
        try:
            return _with_best(load(file), file)
        except UnavailableError:
            raise  # it may be whole: training anew would be the end of it
        except InputError as complaint:
            log.warning("%s; looking for the checkpoint before it", complaint)
            complaints.setdefault(file.parent, complaint)
    if folder in complaints:
        raise complaints[folder]
    if complaints:
        log.warning("no checkpoint is whole: training begins anew")
    return None


def _with_best(checkpoint: Checkpoint, file: Path) -> FoundCheckpoint:
    """The checkpoint in `file` with its best epoch's: without that, its model would be lost."""
    if checkpoint.best is None or checkpoint.is_best:
        return FoundCheckpoint(checkpoint, file, file if checkpoint.is_best else None)
    for name in (BEST, PREVIOUS_BEST):
        try:
            if load(file.parent / name).row.epoch == checkpoint.best.epoch:
                return FoundCheckpoint(checkpoint, file, file.parent / name)
        except UnavailableError:
            raise
        except InputError:
            continue
    raise InputError(f"{file}: its best epoch's checkpoint is gone or damaged")


def adopt(found: FoundCheckpoint, folder: Path) -> None:
    """Have a checkpoint, and that of its best epoch, under their names in `folder`.

    The best comes first: whoever is killed in between finds the checkpoint as before, and does
    both again.
    """
    clear_drafts(folder)
    for file, name in ((found.best, BEST), (found.file, LAST)):
        if file is not None and file != folder / name:
            share_whole(file, folder / name)


def refuse_other_training(found: FoundCheckpoint, config: Config, objective: Objective) -> None:
    """Let a training move to other paths and devices, but not become another training.

    Raises:
        InputError: a key of the model or of the training differs, or another metric chose the best
            epoch so far: by this one it may be beaten.
    """
    folder, stored = found.file.parent, found.checkpoint.config
    for section in ("model", "training"):
        for name, before, now in _differences(getattr(stored, section), getattr(config, section)):
            raise InputError(
                f"{folder}: holds a run with {section}.{name} = {before!r}, not {now!r}; "
                "give another folder, or the configuration it began with"
            )
    best = found.checkpoint.best
    if best is not None and best.metric != objective.metric:
        raise InputError(
            f"{folder}: its best.pt was chosen by {best.metric}, not {objective.metric}; "
            "give another folder, or the metric it began with"
        )


def refuse_other_data(found: FoundCheckpoint, fingerprint: str, root: Path) -> None:
    """Let the data move, but not become other data.

    Args:
        found: the checkpoint to go on from.
        fingerprint: of the data as they are now.
        root: the data's folder.

    Raises:
        InputError: names or sizes of the slices differ.
    """
    before = found.checkpoint.data
    if before is not None and before != fingerprint:
        raise InputError(
            f"{found.file.parent}: holds a run on other data than {root} has now (slices came, "
            "went or changed); give another folder, or the data it began with"
        )


def _differences(before: BaseModel, now: BaseModel) -> list[tuple[str, Any, Any]]:
    """Each key that differs, with both values; the device may be another."""
    return [
        (name, getattr(before, name), getattr(now, name))
        for name in type(before).model_fields
        if name != "device" and getattr(before, name) != getattr(now, name)
    ]
