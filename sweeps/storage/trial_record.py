"""What a trial's folder says: the truth that the study and MLflow are made from."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from enum import StrEnum
from functools import cache
from pathlib import Path
from typing import Any

from sweeps.config.space import Scalar
from sweeps.filesystem import atomic
from sweeps.filesystem.process import Process
from sweeps.storage.paths import AttemptPaths, TrialPaths
from sweeps.trainer import Epoch

SPEED_SUFFIX = "_per_second"
"""What a trainer's figure of its own speed ends in."""


class State(StrEnum):
    """What became of a trial."""

    RUNNING = "running"
    """No result yet; whether anybody works on it, its claim tells."""
    COMPLETE = "complete"
    """Trained to its last epoch."""
    PRUNED = "pruned"
    """Given up because others were better at the same age."""
    DIVERGED = "diverged"
    """Trained into nonsense; worth the metric's worst value."""
    FAILED = "failed"
    """Ended by a bug; says nothing of its hyperparameters and does not count."""


@dataclass(frozen=True)
class EpochRow:
    """One epoch of a trial, as `sweeps.trainer.Epoch` has it."""

    epoch: int
    metrics: Mapping[str, float]
    timestamp: int
    seconds: float
    diverged: str | None = None


@dataclass(frozen=True)
class TrialResult:
    """How a trial ended.

    Attributes:
        state: what became of it.
        value: the objective at its best epoch, or the worst there is; None where it failed.
        best_epoch: the epoch whose checkpoint was kept; None where there is none.
        epochs: how many it was trained.
        reason: why it diverged or failed; empty otherwise.
        alike: what it has in common with failures of the same cause; empty otherwise.
    """

    state: State
    value: float | None
    best_epoch: int | None
    epochs: int
    reason: str = ""
    failure_key: str = ""


@dataclass(frozen=True)
class TrialSpec:
    """What was resolved when the trial was made.

    Attributes:
        number: its number in the study.
        values: the searched values, by dotted path.
        config: the whole configuration, as JSON has it.
        epochs: how many epochs it has if nothing ends it.
        threads: how many threads it computes with, wherever it is continued.
        commit: of the code that the sweep was last started with when the trial was made.
    """

    number: int
    values: Mapping[str, Scalar]
    config: Mapping[str, Any]
    epochs: int
    threads: int
    commit: str = ""


def write_spec(paths: TrialPaths, trial: TrialSpec) -> None:
    """Record what a new trial is."""
    atomic.write(paths.config, json.dumps(asdict(trial), indent=2))


def read_spec(paths: TrialPaths) -> TrialSpec:
    """What the trial is.

    Raises:
        FileNotFoundError: somebody has just removed it.
    """
    return TrialSpec(**json.loads(paths.config.read_text()))


def write_result(paths: TrialPaths, result: TrialResult) -> None:
    """Record how the trial ended; recorded already, nothing changes."""
    atomic.create(paths.result, json.dumps(asdict(result), indent=2))


def read_result(paths: TrialPaths) -> TrialResult | None:
    """How the trial ended; None while it has not."""
    try:
        return _result(paths.result)
    except FileNotFoundError:
        return None


@cache
def _result(path: Path) -> TrialResult:
    """Read once in a process: the file is linked into place whole, and never changes.

    Who counts the trials of a long sweep would else open a file a trial every time.
    """
    content = json.loads(path.read_text())
    return TrialResult(**content | {"state": State(content["state"])})


def state_of(paths: TrialPaths) -> State:
    """What the folder says became of the trial."""
    result = read_result(paths)
    return State.RUNNING if result is None else result.state


def claim_owner(attempt: AttemptPaths) -> Process:
    """The process that claimed the trial by this attempt."""
    return Process.from_json(atomic.read_json(attempt.claim))


def was_given_up(attempt: AttemptPaths) -> bool:
    """Whether the owner gave the trial back, or certainly is gone. Nobody works on it then."""
    return attempt.released.exists() or claim_owner(attempt).is_gone()


def as_first_recorded(paths: TrialPaths, epoch: Epoch) -> Epoch:
    """The epoch as an earlier attempt recorded it, where that came to the same figures.

    After damage to a checkpoint its epoch is computed again. What was recorded the first time,
    timestamp and all, is what MLflow has: recorded again, it stays one point of the curve.
    """
    for attempt in paths.attempts():
        for content in atomic.read_lines(attempt.metrics):
            if content["epoch"] == epoch.epoch and _comparable_metrics(
                EpochRow(**content)
            ) == _comparable_metrics(epoch):
                return EpochRow(**content)
    return epoch


def _comparable_metrics(epoch: Epoch) -> tuple[dict[str, float], str | None]:
    """What must be equal in two computations of an epoch: all but how fast they were."""
    lasting = {k: v for k, v in epoch.metrics.items() if not k.endswith(SPEED_SUFFIX)}
    return lasting, epoch.diverged


def is_published(paths: TrialPaths) -> bool:
    """Whether MLflow was told all of a trial, its end included."""
    return paths.settled.exists() and bool((atomic.read_json(paths.mlflow) or {}).get("done"))


def append_row(attempt: AttemptPaths, epoch: Epoch) -> None:
    """Record an epoch in the attempt's own file."""
    row = EpochRow(epoch.epoch, dict(epoch.metrics), epoch.timestamp, epoch.seconds, epoch.diverged)
    atomic.append(attempt.metrics, json.dumps(asdict(row), separators=(",", ":")))


def has_epoch(attempt: AttemptPaths) -> bool:
    """Whether the attempt recorded an epoch."""
    return any(True for _ in atomic.read_lines(attempt.metrics))


def continued_epoch(attempt: AttemptPaths) -> int | None:
    """The epoch that an attempt carried on from, 0 for none; None where it got to no epoch."""
    content = atomic.read_json(attempt.continued)
    return None if content is None else int(content["epoch"])


def write_continued(attempt: AttemptPaths, epoch: int) -> None:
    """Record the epoch that the attempt carries on from."""
    atomic.write(attempt.continued, json.dumps({"epoch": epoch}))


def read_curve(paths: TrialPaths) -> list[EpochRow]:
    """The trial's epochs in order, each once.

    What an attempt wrote past the epoch that a later one carried on from does not count: its
    owner had been given up, and nobody took over what it did then.
    """
    rows: dict[int, EpochRow] = {}
    for attempt in paths.attempts():
        until = continued_epoch(attempt)
        if until is None:
            continue
        rows = {epoch: row for epoch, row in rows.items() if epoch <= until}
        for content in atomic.read_lines(attempt.metrics):
            rows[content["epoch"]] = EpochRow(**content)
    return [rows[epoch] for epoch in sorted(rows)]


def trained_attempts(paths: TrialPaths) -> list[AttemptPaths]:
    """The attempts that trained, the latest first: its checkpoints stand for the trial.

    An attempt that never got as far as to say what it carried on from counts for nothing.
    """
    return [a for a in reversed(paths.attempts()) if continued_epoch(a) is not None]


def best_checkpoint(paths: TrialPaths) -> Path | None:
    """The file of the best epoch's model; None where there is none, or none any more."""
    file = next((attempt.best_checkpoint for attempt in trained_attempts(paths)), None)
    return file if file is not None and file.exists() else None


@dataclass(frozen=True)
class TrialSnapshot:
    """All that a trial's folder said at one moment."""

    paths: TrialPaths
    spec: TrialSpec
    result: TrialResult | None
    rows: list[EpochRow]


def read_snapshot(paths: TrialPaths) -> TrialSnapshot:
    """Read a trial's folder. The result first: whatever it stands for is in the curve by then."""
    result = read_result(paths)
    return TrialSnapshot(paths, read_spec(paths), result, read_curve(paths))
