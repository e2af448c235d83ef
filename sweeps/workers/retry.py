"""What went wrong around a trial without ending it, and how it is to be tried next.

Each failure is noted in the attempt that met it: by its worker before the trial is given back, or,
where that hung or died, by its supervisor. What comes next follows from these notes alone, so any
worker anywhere goes on where the last one left.
"""

import itertools
import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from enum import StrEnum

from sweeps.filesystem import atomic
from sweeps.storage.paths import AttemptPaths, TrialPaths
from sweeps.storage.trial_record import State, TrialResult, has_epoch, read_curve

MAX_PROCESS_FAILURES = 3
"""So many workers may hang, or be made unusable, by one trial before it is its own fault."""
MAX_ENVIRONMENT_FAILURES = 6
"""So many times in a row a trial finds a file or its data out of reach before the sweep is stopped.
"""
MAX_WORKER_DEATHS = 5
"""So many may die at it in a row with no epoch between: more, since a machine kills, too."""


class FailureKind(StrEnum):
    """What a failure was."""

    OUT_OF_MEMORY = "out_of_memory"
    """The trial did not fit into memory."""
    PROCESS_LOST = "process_lost"
    """The worker's process can compute nothing any more."""
    HUNG = "hung"
    """No epoch came for so long that the worker was killed."""
    ENVIRONMENT_UNAVAILABLE = "environment_unavailable"
    """A file, or the data, could not be had; nothing is wrong with the trial."""
    WORKER_DIED = "worker_died"
    """A signal ended the worker before it had finished an epoch."""


@dataclass(frozen=True)
class Failure:
    """One of a trial's failures.

    Attributes:
        kind: what it was.
        message: what was raised or seen, in one line.
        alike: what it has in common with failures of the same cause; empty where nobody knows.
        parts: in how many parts each batch was computed.
        alone: whether no other worker of the job used the device.
    """

    kind: FailureKind
    message: str
    key: str = ""
    accumulation_steps: int = 1
    exclusive: bool = True


@dataclass(frozen=True)
class RetryPlan:
    """How a trial is to be run after what happened to it.

    Attributes:
        alone: only where no other worker of the job uses the device.
        parts: in how many parts each batch is to be computed.
    """

    exclusive: bool
    accumulation_steps: int


def record_failure(attempt: AttemptPaths, failure: Failure) -> None:
    """Write down what an attempt met."""
    atomic.write(attempt.failure, json.dumps(asdict(failure)))


def failures_of(trial: TrialPaths) -> list[Failure]:
    """Every failure of a trial so far, in order."""
    return _failures(trial.attempts())


def _failures(attempts: Iterable[AttemptPaths]) -> list[Failure]:
    found = (atomic.read_json(attempt.failure) for attempt in attempts)
    return [
        Failure(**content | {"kind": FailureKind(content["kind"])}) for content in found if content
    ]


def consecutive_failures(trial: TrialPaths, kind: FailureKind) -> list[Failure]:
    """The trial's failures of one kind since it last finished an epoch."""
    return [failure for failure in _since_the_last_epoch(trial) if failure.kind is kind]


def retry_plan_of(trial: TrialPaths) -> RetryPlan:
    """How the trial is to be run: after want of memory first alone, then in ever smaller parts."""
    short = [failure for failure in failures_of(trial) if failure.kind is FailureKind.OUT_OF_MEMORY]
    parts = [
        1,
        *(
            2 * failure.accumulation_steps if failure.exclusive else failure.accumulation_steps
            for failure in short
        ),
    ]
    return RetryPlan(exclusive=bool(short), accumulation_steps=max(parts))


def result_after_failures(trial: TrialPaths, max_steps: int, worst: float) -> TrialResult | None:
    """How the trial has ended by its failures; None while there is something left to try.

    Args:
        trial: the trial.
        max_steps: from how many parts on a part is as small as can be.
        worst: the metric's worst value.
    """
    epochs = len(read_curve(trial))
    if retry_plan_of(trial).accumulation_steps > max_steps:
        # A failure would tell the sampler nothing, and it would propose the same again.
        said = [t.message for t in failures_of(trial) if t.kind is FailureKind.OUT_OF_MEMORY][-1]
        reason = f"out of memory alone on the device, an image at a time: {said}"
        return TrialResult(State.DIVERGED, worst, None, epochs, reason)
    for kind, patience in (
        (FailureKind.PROCESS_LOST, MAX_PROCESS_FAILURES),
        (FailureKind.HUNG, MAX_PROCESS_FAILURES),
        (FailureKind.WORKER_DIED, MAX_WORKER_DEATHS),
    ):
        ever = [failure for failure in failures_of(trial) if failure.kind is kind]
        alike = consecutive_failures(trial, kind) if kind is FailureKind.WORKER_DIED else ever
        if len(alike) >= patience:
            reason = f"{len(alike)} workers {_DESCRIPTIONS[kind]}: {alike[-1].message}"
            return TrialResult(State.FAILED, None, None, epochs, reason, alike[-1].key)
    return None


def _since_the_last_epoch(trial: TrialPaths) -> list[Failure]:
    """The failures of the attempts after the last one that finished an epoch."""
    fruitless = itertools.takewhile(lambda a: not has_epoch(a), reversed(trial.attempts()))
    return _failures(reversed(list(fruitless)))


def describe_failures(trial: TrialPaths) -> str:
    """What went wrong so far, in one line; empty where nothing did."""
    counts = dict.fromkeys(FailureKind, 0)
    for failure in failures_of(trial):
        counts[failure.kind] += 1
    way = retry_plan_of(trial)
    said = [
        f"{_DESCRIPTIONS[kind]} {number} times" for kind, number in counts.items() if number > 1
    ]
    said += [f"{_DESCRIPTIONS[kind]} once" for kind, number in counts.items() if number == 1]
    if way.accumulation_steps > 1:
        said.append(f"each batch in {way.accumulation_steps} parts")
    return ", ".join(said)


_DESCRIPTIONS = {
    FailureKind.OUT_OF_MEMORY: "out of memory",
    FailureKind.PROCESS_LOST: "made unusable",
    FailureKind.HUNG: "hung",
    FailureKind.ENVIRONMENT_UNAVAILABLE: "kept from a file or its data",
    FailureKind.WORKER_DIED: "died",
}
