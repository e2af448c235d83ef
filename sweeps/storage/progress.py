"""How far a sweep is: three numbers of trials that must not be confused.

reserved: trials that use up the total, running ones included. Whoever proposes a trial counts
    these; a failed trial is not among them, since another takes its place.
ended: trials of these that are done: complete, pruned or diverged, and the study knows it.
left: what is missing to the total until all have ended.
"""

import json
from dataclasses import dataclass
from enum import StrEnum

from sweeps.filesystem import atomic
from sweeps.storage.paths import SweepPaths
from sweeps.storage.trial_record import State, read_curve, state_of, was_given_up


class Exhausted(StrEnum):
    """Why a sweep has nothing more to try, though its total is not reached."""

    EVERY_POINT = "every point"
    """Each configuration of a finite space was tried."""
    ENQUEUED = "all that was enqueued"
    """The experiment names its trials, and all were tried."""
    NOTHING_NEW = "nothing new"
    """Every proposal repeated an earlier trial, or the trainer refused it."""


@dataclass(frozen=True)
class Progress:
    """How many trials a sweep has.

    Attributes:
        planned: how many were asked for in all.
        reserved: those that use up the total, ended or running.
        ended: those that are done and count.
    """

    planned: int
    reserved: int
    ended: int

    @property
    def left(self) -> int:
        """How many are still to end, running ones included."""
        return max(0, self.planned - self.ended)

    @property
    def to_propose(self) -> int:
        """How many nobody has asked the study for yet."""
        return max(0, self.planned - self.reserved)


def progress_of(paths: SweepPaths, planned: int) -> Progress:
    """Count the trials of a sweep of which `planned` are asked for."""
    reserved = ended = 0
    for trial in paths.trials():
        if state_of(trial) is not State.FAILED:
            reserved += 1
            ended += trial.settled.exists()
    return Progress(planned, reserved, ended)


def is_over(paths: SweepPaths, planned: int) -> bool:
    """Whether every trial asked for has ended, or there is nothing more to try."""
    if not all(trial.settled.exists() for trial in paths.trials()):
        return False
    return progress_of(paths, planned).to_propose == 0 or paths.exhausted.exists()


def unclaimed_trials(paths: SweepPaths, planned: int) -> int:
    """How many trials nobody works on: given up by their worker, or not proposed yet."""
    latest = [trial.attempts()[-1] for trial in paths.trials() if not trial.settled.exists()]
    given_up = sum(map(was_given_up, latest))
    if paths.exhausted.exists():
        return given_up
    return given_up + progress_of(paths, planned).to_propose


def finished_steps(paths: SweepPaths) -> int:
    """A number that grows with every epoch and with every trial that ends."""
    return sum(len(read_curve(trial)) + trial.settled.exists() for trial in paths.trials())


def record_exhausted(paths: SweepPaths, reason: Exhausted) -> None:
    """Record that the sweep has nothing more to try."""
    atomic.write(paths.exhausted, json.dumps({"reason": reason}))


def exhausted_reason(paths: SweepPaths) -> Exhausted | None:
    """Why the sweep has nothing more to try; None while it has."""
    content = atomic.read_json(paths.exhausted)
    return None if content is None else Exhausted(content["reason"])
