"""Failures that do not end a trial, and how the trial is retried after them.

Each failure is recorded in its attempt: by the worker before it releases the trial, or by the
supervisor if the worker hung or died. The retry plan follows from these records alone, so any
worker on any host can continue the trial.
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
"""Workers that one trial may hang, or lose by `process_lost`, before the trial has failed."""
MAX_ENVIRONMENT_FAILURES = 6
"""Times in a row that a trial's environment may be unavailable before the sweep is stopped."""
MAX_WORKER_DEATHS = 5
"""Workers that may die in a row, with no epoch between, before their trial has failed.

More than for the other failures, because a host that is out of memory kills workers, too.
"""


class FailureKind(StrEnum):
    """The kind of a failure."""

    OUT_OF_MEMORY = "out_of_memory"
    """The trial did not fit into memory."""
    PROCESS_LOST = "process_lost"
    """The worker's process cannot compute any more."""
    HUNG = "hung"
    """No epoch ended for so long that the worker was killed."""
    ENVIRONMENT_UNAVAILABLE = "environment_unavailable"
    """A file or the data could not be read or written; the trial itself is not the cause."""
    WORKER_DIED = "worker_died"
    """A signal ended the worker before it had finished an epoch."""


@dataclass(frozen=True)
class Failure:
    """One failure of a trial.

    Attributes:
        kind: its kind.
        message: the error or the observation, in one line.
        key: a text that failures of the same cause have in common; empty if the cause is unknown.
        accumulation_steps: the number of accumulation steps in this attempt.
        exclusive: whether no other worker of the job used the device.
    """

    kind: FailureKind
    message: str
    key: str = ""
    accumulation_steps: int = 1
    exclusive: bool = True


@dataclass(frozen=True)
class RetryPlan:
    """How a trial must be run after its failures.

    Attributes:
        exclusive: only while no other worker of the job uses the device.
        accumulation_steps: the number of micro-batches that each batch is computed in.
    """

    exclusive: bool
    accumulation_steps: int


def record_failure(attempt: AttemptPaths, failure: Failure) -> None:
    """Record the failure of an attempt."""
    atomic.write(attempt.failure, json.dumps(asdict(failure)))


def failures_of(trial: TrialPaths) -> list[Failure]:
    """Return every failure of a trial so far, in order."""
    return _failures(trial.attempts())


def _failures(attempts: Iterable[AttemptPaths]) -> list[Failure]:
    found = (atomic.read_json(attempt.failure) for attempt in attempts)
    return [
        Failure(**content | {"kind": FailureKind(content["kind"])}) for content in found if content
    ]


def consecutive_failures(trial: TrialPaths, kind: FailureKind) -> list[Failure]:
    """Return the trial's failures of one kind since its last finished epoch."""
    return [failure for failure in _since_last_epoch(trial) if failure.kind is kind]


def retry_plan_of(trial: TrialPaths) -> RetryPlan:
    """Return how the trial must be run.

    After it was out of memory: first with exclusive use of the device, then, each time, with twice
    the accumulation steps.
    """
    failures = [f for f in failures_of(trial) if f.kind is FailureKind.OUT_OF_MEMORY]
    steps = [
        1,
        *(
            2 * failure.accumulation_steps if failure.exclusive else failure.accumulation_steps
            for failure in failures
        ),
    ]
    return RetryPlan(exclusive=bool(failures), accumulation_steps=max(steps))


def result_after_failures(trial: TrialPaths, max_steps: int, worst: float) -> TrialResult | None:
    """Return how the trial has ended because of its failures; None while it can be retried.

    Args:
        trial: the trial.
        max_steps: the accumulation steps at which micro-batches cannot get any smaller.
        worst: the metric's worst value.
    """
    epochs = len(read_curve(trial))
    if retry_plan_of(trial).accumulation_steps > max_steps:
        # Diverged, not failed: a failed trial tells the sampler nothing, and it would propose the
        # same values again.
        messages = [f.message for f in failures_of(trial) if f.kind is FailureKind.OUT_OF_MEMORY]
        tried = "with exclusive use of the device and the smallest micro-batches"
        reason = f"out of memory {tried}: {messages[-1]}"
        return TrialResult(State.DIVERGED, worst, None, epochs, reason)
    for kind, limit in (
        (FailureKind.PROCESS_LOST, MAX_PROCESS_FAILURES),
        (FailureKind.HUNG, MAX_PROCESS_FAILURES),
        (FailureKind.WORKER_DIED, MAX_WORKER_DEATHS),
    ):
        failures = [failure for failure in failures_of(trial) if failure.kind is kind]
        if kind is FailureKind.WORKER_DIED:
            failures = consecutive_failures(trial, kind)
        if len(failures) >= limit:
            last = failures[-1]
            reason = f"{_DESCRIPTIONS[kind]} {len(failures)} times: {last.message}"
            return TrialResult(State.FAILED, None, None, epochs, reason, last.key)
    return None


def _since_last_epoch(trial: TrialPaths) -> list[Failure]:
    """Return the failures of the attempts after the last one that finished an epoch."""
    attempts = itertools.takewhile(lambda a: not has_epoch(a), reversed(trial.attempts()))
    return _failures(reversed(list(attempts)))


def describe_failures(trial: TrialPaths) -> str:
    """Return the failures so far in one line; empty if there are none."""
    counts = dict.fromkeys(FailureKind, 0)
    for failure in failures_of(trial):
        counts[failure.kind] += 1
    steps = retry_plan_of(trial).accumulation_steps
    parts = [
        f"{_DESCRIPTIONS[kind]} {number} times" for kind, number in counts.items() if number > 1
    ]
    parts += [f"{_DESCRIPTIONS[kind]} once" for kind, number in counts.items() if number == 1]
    if steps > 1:
        parts.append(f"{steps} accumulation steps")
    return ", ".join(parts)


_DESCRIPTIONS = {
    FailureKind.OUT_OF_MEMORY: "out of memory",
    FailureKind.PROCESS_LOST: "process lost",
    FailureKind.HUNG: "worker hung",
    FailureKind.ENVIRONMENT_UNAVAILABLE: "environment unavailable",
    FailureKind.WORKER_DIED: "worker died",
}
