"""Which checkpoint a training resumes from, and whether it may."""

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
    """A checkpoint to resume from."""

    checkpoint: Checkpoint
    file: Path
    """The file it was read from."""
    best: Path | None
    """The checkpoint of its best epoch; None if it has no best epoch."""


def find_checkpoint(folder: Path, earlier: Sequence[Path]) -> FoundCheckpoint | None:
    """The latest intact checkpoint: in `folder`, or else in the first of `earlier` that has one.

    Returns:
        None if training starts from the beginning: there is no checkpoint, or `earlier` has only
        damaged ones.

    Raises:
        InputError: `folder` has checkpoints, and all are damaged. Somebody may still need them, so
            they are not overwritten.
        UnavailableError: a checkpoint exists and cannot be read now.
    """
    errors: dict[Path, InputError] = {}
    for file in (source / name for source in (folder, *earlier) for name in (LAST, PREVIOUS)):
        if not file.exists():
            continue
        try:
            return _with_best(load(file), file)
        except UnavailableError:
            raise  # it may be intact: a training from the beginning would overwrite it
        except InputError as error:
            log.warning("%s; looking for the checkpoint before it", error)
            errors.setdefault(file.parent, error)
    if folder in errors:
        raise errors[folder]
    if errors:
        log.warning("all checkpoints are damaged: training starts from the beginning")
    return None


def _with_best(checkpoint: Checkpoint, file: Path) -> FoundCheckpoint:
    """The checkpoint in `file`, and the file of its best epoch, whose model must not be lost."""
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
    raise InputError(f"{file}: the checkpoint of its best epoch is missing or damaged")


def adopt(found: FoundCheckpoint, folder: Path) -> None:
    """Make a checkpoint the `last.pt` of `folder`, and that of its best epoch the `best.pt`.

    `best.pt` comes first: a process that is killed in between finds the same checkpoint when it
    runs again, and repeats both.
    """
    clear_drafts(folder)
    for file, name in ((found.best, BEST), (found.file, LAST)):
        if file is not None and file != folder / name:
            share_whole(file, folder / name)


def refuse_other_training(found: FoundCheckpoint, config: Config, objective: Objective) -> None:
    """Refuse to resume with another configuration; only paths and the device may differ.

    Raises:
        InputError: a key of the model or of the training differs, or the best epoch so far was
            chosen by another metric: by the new metric another epoch may have been better.
    """
    folder, stored = found.file.parent, found.checkpoint.config
    for section in ("model", "training"):
        for name, before, now in _differences(getattr(stored, section), getattr(config, section)):
            raise InputError(
                f"{folder}: holds a run with {section}.{name} = {before!r}, not {now!r}; "
                "give another folder, or the configuration it was started with"
            )
    best = found.checkpoint.best
    if best is not None and best.metric != objective.metric:
        raise InputError(
            f"{folder}: its best.pt was chosen by {best.metric}, not {objective.metric}; "
            "give another folder, or the metric it was started with"
        )


def refuse_other_data(found: FoundCheckpoint, fingerprint: str, root: Path) -> None:
    """Refuse to resume on other data; only their folder may differ.

    Args:
        found: the checkpoint to resume from.
        fingerprint: the fingerprint of the data as they are now.
        root: the folder of the data.

    Raises:
        InputError: names or sizes of the slices differ.
    """
    if found.checkpoint.data != fingerprint:
        raise InputError(
            f"{found.file.parent}: holds a run on other data than {root} has now (slices were "
            "added, removed or changed); give another folder, or the data it was started with"
        )


def _differences(before: BaseModel, now: BaseModel) -> list[tuple[str, Any, Any]]:
    """Each key with different values, and both values; the device may differ."""
    return [
        (name, getattr(before, name), getattr(now, name))
        for name in type(before).model_fields
        if name != "device" and getattr(before, name) != getattr(now, name)
    ]
