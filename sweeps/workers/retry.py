"""What went wrong around a trial without ending it, and how it is to be tried next.

Each trouble is noted in the attempt that met it: by its worker before the trial is given back, or,
where that hung or died, by its supervisor. What comes next follows from these notes alone, so any
worker anywhere goes on where the last one left.
"""

import itertools
import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from enum import StrEnum

from sweeps.filesystem import atomic as files
from sweeps.storage.paths import AttemptPaths, TrialPaths
from sweeps.storage.trial_record import Result, State, has_epoch, read_curve

PATIENCE = 3
"""So many workers may hang, or be made unusable, by one trial before it is its own fault."""
WORLD_TRIES = 6
"""So many times in a row a trial finds a file or its data out of reach before the sweep is stopped.
"""
DEATHS = 5
"""So many may die at it in a row with no epoch between: more, since a machine kills, too."""


class Kind(StrEnum):
    """What a trouble was."""

    MEMORY = "memory"
    """The trial did not fit into memory."""
    UNUSABLE = "unusable"
    """The worker's process can compute nothing any more."""
    HUNG = "hung"
    """No epoch came for so long that the worker was killed."""
    WORLD = "world"
    """A file, or the data, could not be had; nothing is wrong with the trial."""
    DIED = "died"
    """A signal ended the worker before it had finished an epoch."""


@dataclass(frozen=True)
class Trouble:
    """One of a trial's troubles.

    Attributes:
        kind: what it was.
        message: what was raised or seen, in one line.
        alike: what it has in common with troubles of the same cause; empty where nobody knows.
        parts: in how many parts each batch was computed.
        alone: whether no other worker of the job used the device.
    """

    kind: Kind
    message: str
    alike: str = ""
    parts: int = 1
    alone: bool = True


@dataclass(frozen=True)
class Way:
    """How a trial is to be run after what happened to it.

    Attributes:
        alone: only where no other worker of the job uses the device.
        parts: in how many parts each batch is to be computed.
    """

    alone: bool
    parts: int


def note(attempt: AttemptPaths, trouble: Trouble) -> None:
    """Write down what an attempt met."""
    files.write(attempt.trouble, json.dumps(asdict(trouble)))


def troubles_of(trial: TrialPaths) -> list[Trouble]:
    """Every trouble of a trial so far, in order."""
    return _troubles(trial.attempts())


def _troubles(attempts: Iterable[AttemptPaths]) -> list[Trouble]:
    found = (files.read_json(attempt.trouble) for attempt in attempts)
    return [Trouble(**content | {"kind": Kind(content["kind"])}) for content in found if content]


def in_a_row(trial: TrialPaths, kind: Kind) -> list[Trouble]:
    """The trial's troubles of one kind since it last finished an epoch."""
    return [trouble for trouble in _since_the_last_epoch(trial) if trouble.kind is kind]


def way_of(trial: TrialPaths) -> Way:
    """How the trial is to be run: after want of memory first alone, then in ever smaller parts."""
    short = [trouble for trouble in troubles_of(trial) if trouble.kind is Kind.MEMORY]
    parts = [1, *(2 * trouble.parts if trouble.alone else trouble.parts for trouble in short)]
    return Way(alone=bool(short), parts=max(parts))


def end_of(trial: TrialPaths, most_parts: int, worst: float) -> Result | None:
    """How the trial has ended by its troubles; None while there is something left to try.

    Args:
        trial: the trial.
        most_parts: from how many parts on a part is as small as can be.
        worst: the metric's worst value.
    """
    epochs = len(read_curve(trial))
    if way_of(trial).parts > most_parts:
        # A failure would tell the sampler nothing, and it would propose the same again.
        said = [t.message for t in troubles_of(trial) if t.kind is Kind.MEMORY][-1]
        reason = f"out of memory alone on the device, an image at a time: {said}"
        return Result(State.DIVERGED, worst, None, epochs, reason)
    for kind, patience in ((Kind.UNUSABLE, PATIENCE), (Kind.HUNG, PATIENCE), (Kind.DIED, DEATHS)):
        ever = [trouble for trouble in troubles_of(trial) if trouble.kind is kind]
        alike = in_a_row(trial, kind) if kind is Kind.DIED else ever
        if len(alike) >= patience:
            reason = f"{len(alike)} workers {_WORDS[kind]}: {alike[-1].message}"
            return Result(State.FAILED, None, None, epochs, reason, alike[-1].alike)
    return None


def _since_the_last_epoch(trial: TrialPaths) -> list[Trouble]:
    """The troubles of the attempts after the last one that finished an epoch."""
    fruitless = itertools.takewhile(lambda a: not has_epoch(a), reversed(trial.attempts()))
    return _troubles(reversed(list(fruitless)))


def in_words(trial: TrialPaths) -> str:
    """What went wrong so far, in one line; empty where nothing did."""
    counts = dict.fromkeys(Kind, 0)
    for trouble in troubles_of(trial):
        counts[trouble.kind] += 1
    way = way_of(trial)
    said = [f"{_WORDS[kind]} {number} times" for kind, number in counts.items() if number > 1]
    said += [f"{_WORDS[kind]} once" for kind, number in counts.items() if number == 1]
    if way.parts > 1:
        said.append(f"each batch in {way.parts} parts")
    return ", ".join(said)


_WORDS = {
    Kind.MEMORY: "out of memory",
    Kind.UNUSABLE: "made unusable",
    Kind.HUNG: "hung",
    Kind.WORLD: "kept from a file or its data",
    Kind.DIED: "died",
}
