"""The progress of a sweep, in three numbers of trials.

reserved: trials that use up the planned total, running ones included. New trials are proposed
    until this reaches the total; a failed trial does not count, since another replaces it.
ended: the reserved trials that are complete, pruned or diverged, and reported to the study.
left: the planned total minus those that have ended.
"""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from sweeps.filesystem import atomic
from sweeps.storage.paths import SweepPaths
from sweeps.storage.trial_record import State, is_abandoned, read_curve, state_of


class Exhausted(StrEnum):
    """Why a sweep has nothing more to try before its total is reached."""

    EVERY_POINT = "every point"
    """Each configuration of a finite space was tried."""
    ENQUEUED = "all that was enqueued"
    """The sampler is `enqueued`, and all enqueued trials were tried."""
    NOTHING_NEW = "nothing new"
    """Each of many proposals repeated an earlier trial or was refused by the trainer."""


@dataclass(frozen=True)
class Progress:
    """The numbers of a sweep's trials.

    Attributes:
        planned: the total that the experiment asks for.
        reserved: those that use up the total: running or ended, not failed.
        ended: those that are complete, pruned or diverged.
    """

    planned: int
    reserved: int
    ended: int

    @property
    def left(self) -> int:
        """How many must still end, running ones included."""
        return max(0, self.planned - self.ended)

    @property
    def to_propose(self) -> int:
        """How many have not been proposed yet."""
        return max(0, self.planned - self.reserved)


def progress_of(paths: SweepPaths, planned: int) -> Progress:
    """Count the trials of a sweep whose planned total is `planned`."""
    reserved = ended = 0
    for trial in paths.trials():
        settled = trial.settled.exists()  # before the state: the trial may fail in between
        if state_of(trial) is not State.FAILED:
            reserved += 1
            ended += settled
    return Progress(planned, reserved, ended)


def progress_of_states(states: Iterable[State], planned: int) -> Progress:
    """Count trials by their states, for people: one with a result has ended, settled or not."""
    counted = [state for state in states if state is not State.FAILED]
    return Progress(planned, len(counted), sum(state is not State.RUNNING for state in counted))


def is_over(paths: SweepPaths, planned: int) -> bool:
    """Return whether every planned trial has ended, or there is nothing more to try."""
    if not all(trial.settled.exists() for trial in paths.trials()):
        return False
    return progress_of(paths, planned).to_propose == 0 or paths.exhausted.exists()


def unclaimed_trials(paths: SweepPaths, planned: int) -> int:
    """Return how many trials no worker has: released, left by a dead worker, or not proposed."""
    latest = [trial.attempts()[-1] for trial in paths.trials() if not trial.settled.exists()]
    unclaimed = sum(map(is_abandoned, latest))
    if paths.exhausted.exists():
        return unclaimed
    return unclaimed + progress_of(paths, planned).to_propose


def finished_epochs_and_trials(paths: SweepPaths) -> int:
    """Return a number that grows with every epoch and with every trial that ends."""
    return sum(len(read_curve(trial)) + trial.settled.exists() for trial in paths.trials())


def record_exhausted(paths: SweepPaths, reason: Exhausted) -> None:
    """Record that the sweep has nothing more to try."""
    atomic.write(paths.exhausted, json.dumps({"reason": reason}))


def exhausted_reason(paths: SweepPaths) -> Exhausted | None:
    """Return why the sweep has nothing more to try; None while it has something."""
    content = atomic.read_json(paths.exhausted)
    return None if content is None else Exhausted(content["reason"])
