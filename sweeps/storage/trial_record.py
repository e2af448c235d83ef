"""Reading and writing the records in a trial's folder; the study and MLflow follow from them."""

import contextlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from enum import StrEnum
from functools import cache
from pathlib import Path
from typing import Any

from sweeps.config.space import Scalar
from sweeps.config.toml_writer import to_toml
from sweeps.filesystem import atomic
from sweeps.filesystem.process import Process
from sweeps.storage.paths import AttemptPaths, TrialPaths
from sweeps.trainer import Epoch, FinishedEpoch

SPEED_SUFFIX = "_per_second"
"""How the name of a metric ends that a trainer gives its speed."""


class State(StrEnum):
    """The state of a trial."""

    RUNNING = "running"
    """It has no result yet; whether a worker has it, its claim shows."""
    COMPLETE = "complete"
    """It was trained to its last epoch."""
    PRUNED = "pruned"
    """It was stopped because others were better after the same epoch."""
    DIVERGED = "diverged"
    """Its training gave no usable values; its value is the metric's worst one."""
    FAILED = "failed"
    """A bug or repeated failures ended it; it does not count, nor say anything of its values."""


@dataclass(frozen=True)
class TrialResult:
    """How a trial ended.

    Attributes:
        state: the final state.
        value: the objective at its best epoch, or the worst value if it diverged; None if it
            failed.
        best_epoch: the best epoch, whose checkpoint was kept; None if there is none.
        epochs: how many epochs were trained.
        reason: why it diverged or failed; empty otherwise.
        failure_key: a text that failures of the same cause have in common; empty otherwise.
    """

    state: State
    value: float | None
    best_epoch: int | None
    epochs: int
    reason: str = ""
    failure_key: str = ""


@dataclass(frozen=True)
class TrialSpec:
    """The specification of a trial, fixed when the trial is created.

    Attributes:
        number: its number in the study.
        values: the searched values, by dotted path.
        config: the whole configuration, as a JSON object.
        epochs: how many epochs it has if nothing ends it early.
        threads: how many CPU threads it computes with, wherever it is continued.
        commit: the commit in the sweep's plan when the trial was created.
    """

    number: int
    values: Mapping[str, Scalar]
    config: Mapping[str, Any]
    epochs: int
    threads: int
    commit: str = ""


def write_spec(paths: TrialPaths, trial: TrialSpec) -> None:
    """Write the specification of a new trial."""
    atomic.write(paths.config_toml, to_toml(trial.config))
    atomic.write(paths.config, json.dumps(asdict(trial), indent=2))


def read_spec(paths: TrialPaths) -> TrialSpec:
    """Read the specification of a trial.

    Raises:
        FileNotFoundError: the trial's folder has just been removed.
    """
    return TrialSpec(**json.loads(paths.config.read_text(encoding="utf-8")))


def write_result(paths: TrialPaths, result: TrialResult) -> None:
    """Write how the trial ended; if it has a result already, nothing changes."""
    atomic.create(paths.result, json.dumps(asdict(result), indent=2))


def read_result(paths: TrialPaths) -> TrialResult | None:
    """Read how the trial ended; None while it has not."""
    try:
        return _result(paths.result)
    except FileNotFoundError:
        return None


@cache
def _result(path: Path) -> TrialResult:
    """Read a result, once per process: the file appears complete and never changes.

    Without the cache, each count of a long sweep's trials would open one file per trial.
    """
    content = json.loads(path.read_text(encoding="utf-8"))
    return TrialResult(**content | {"state": State(content["state"])})


def state_of(paths: TrialPaths) -> State:
    """Return the state of the trial."""
    result = read_result(paths)
    return State.RUNNING if result is None else result.state


def claim_owner(attempt: AttemptPaths) -> Process:
    """Return the process that claimed the trial with this attempt."""
    return Process.from_json(atomic.read_json(attempt.claim))


def is_abandoned(attempt: AttemptPaths) -> bool:
    """Return whether the owner released the trial or has certainly ended."""
    return attempt.released.exists() or claim_owner(attempt).is_gone()


def as_first_recorded(paths: TrialPaths, epoch: Epoch) -> Epoch:
    """Return the row of an earlier attempt for this epoch if its metrics are equal, else `epoch`.

    If a checkpoint is damaged, its epoch is computed again. MLflow may already have the first row.
    With the same timestamp, the epoch stays one point of the curve there.
    """
    for attempt in paths.attempts():
        for content in atomic.read_lines(attempt.metrics):
            if content["epoch"] == epoch.epoch and _comparable_metrics(
                FinishedEpoch(**content)
            ) == _comparable_metrics(epoch):
                return FinishedEpoch(**content)
    return epoch


def _comparable_metrics(epoch: Epoch) -> tuple[dict[str, float], str | None]:
    """Return what is equal in two computations of an epoch: everything except their speed."""
    comparable = {k: v for k, v in epoch.metrics.items() if not k.endswith(SPEED_SUFFIX)}
    return comparable, epoch.diverged


def is_published(paths: TrialPaths) -> bool:
    """Return whether MLflow has all of a trial, its end included."""
    return paths.settled.exists() and bool((atomic.read_json(paths.mlflow) or {}).get("done"))


def append_row(attempt: AttemptPaths, epoch: Epoch) -> None:
    """Append the row of an epoch to the attempt's own file."""
    row = FinishedEpoch(
        epoch.epoch, dict(epoch.metrics), epoch.timestamp, epoch.seconds, epoch.diverged
    )
    atomic.append(attempt.metrics, json.dumps(asdict(row), separators=(",", ":")))


def has_epoch(attempt: AttemptPaths) -> bool:
    """Return whether the attempt has recorded an epoch."""
    return any(True for _ in atomic.read_lines(attempt.metrics))


def continued_epoch(attempt: AttemptPaths) -> int | None:
    """Return the epoch that an attempt continues from, 0 for a new start; None if not recorded."""
    content = atomic.read_json(attempt.continued)
    return None if content is None else int(content["epoch"])


def write_continued(attempt: AttemptPaths, epoch: int) -> None:
    """Record the epoch that the attempt continues from."""
    atomic.write(attempt.continued, json.dumps({"epoch": epoch}))


def mark_phase(file: Path) -> None:
    """Touch a file that tells people how far an attempt is; nothing depends on it.

    On a full disk, or in a folder that was removed, nothing is written.
    """
    with contextlib.suppress(OSError):
        if not file.exists():
            file.touch()


def read_curve(paths: TrialPaths) -> list[FinishedEpoch]:
    """Return the trial's epochs in order, each once.

    Rows of an attempt after the epoch that a later attempt continues from do not count: its owner
    had lost the claim by then, and no attempt continued from those epochs.
    """
    rows: dict[int, FinishedEpoch] = {}
    for attempt in paths.attempts():
        until = continued_epoch(attempt)
        if until is None:
            continue
        rows = {epoch: row for epoch, row in rows.items() if epoch <= until}
        for content in atomic.read_lines(attempt.metrics):
            rows[content["epoch"]] = FinishedEpoch(**content)
    return [rows[epoch] for epoch in sorted(rows)]


def trained_attempts(paths: TrialPaths) -> list[AttemptPaths]:
    """Return the attempts that trained, the latest first; its checkpoints are the trial's.

    An attempt that ended before it recorded which epoch it continues from does not count.
    """
    return [a for a in reversed(paths.attempts()) if continued_epoch(a) is not None]


def best_checkpoint(paths: TrialPaths) -> Path | None:
    """Return the checkpoint of the best epoch; None if there is none, or it was removed."""
    file = next((attempt.best_checkpoint for attempt in trained_attempts(paths)), None)
    return file if file is not None and file.exists() else None


@dataclass(frozen=True)
class TrialSnapshot:
    """The records of a trial's folder at one moment."""

    paths: TrialPaths
    spec: TrialSpec
    result: TrialResult | None
    rows: list[FinishedEpoch]


def read_snapshot(paths: TrialPaths) -> TrialSnapshot:
    """Read a trial's folder. The result is read first: the curve read after it is then complete."""
    result = read_result(paths)
    return TrialSnapshot(paths, read_spec(paths), result, read_curve(paths))
