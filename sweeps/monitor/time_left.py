"""How long a sweep still takes, from its own pace: what its trials took so far.

Only time in epochs counts, so a pause of the sweep does not. Nothing is said before enough trials
have ended: how many epochs pruning leaves to a trial is known from those alone.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sweeps.storage.progress import Progress
from sweeps.storage.trial_record import TrialSnapshot
from sweeps.text import count

ENOUGH_TRIALS = 3
"""How many trials must have ended before they say what others will take."""
RECENT_TRIALS = 20
"""The pace is that of the latest trials: the sampler's choices, and the devices, change."""


@dataclass(frozen=True)
class TimeLeft:
    """How long a sweep still takes.

    Attributes:
        work: seconds that one worker would take for all that is left.
        seconds: seconds with the workers that have a trial now; None if none has.
        workers: how many workers have a trial now.
        trials: how many of the latest trials the pace was measured on.
    """

    work: float
    seconds: float | None
    workers: int
    trials: int

    @classmethod
    def of(
        cls, work: float, left: Mapping[str, float], running: frozenset[str], trials: int
    ) -> "TimeLeft":
        """Return the time for some work; no shorter than that of the longest running trial.

        Args:
            work: seconds that one worker would take.
            left: seconds that each open trial takes, by name.
            running: the names of the trials that a worker has now.
            trials: how many trials the pace was measured on.
        """
        longest = max((left[name] for name in running if name in left), default=0.0)
        seconds = max(work / len(running), longest) if running else None
        return cls(work, seconds, len(running), trials)


def time_left(
    snapshots: Sequence[TrialSnapshot], running: frozenset[str], progress: Progress
) -> TimeLeft | None:
    """Return how long a sweep still takes; None if nothing is left or too little is known.

    Args:
        snapshots: the records of its trials.
        running: the names of the trials that a worker has now.
        progress: how many trials are planned and have ended.
    """
    ended = [each for each in snapshots if each.result is not None and each.rows]
    recent = sorted(ended, key=lambda each: each.rows[-1].timestamp)[-RECENT_TRIALS:]
    if not progress.left or len(recent) < ENOUGH_TRIALS:
        return None
    rows = [row for each in recent for row in each.rows]
    pace = sum(row.seconds for row in rows) / len(rows)
    used = [len(each.rows) for each in recent]
    left = {
        each.paths.name: _seconds_left(each, pace, used, is_running=each.paths.name in running)
        for each in snapshots
        if each.result is None
    }
    work = sum(left.values()) + progress.to_propose * pace * _mean(used)
    return TimeLeft.of(work, left, running, len(recent))


def _seconds_left(
    trial: TrialSnapshot, pace: float, used: Sequence[int], *, is_running: bool
) -> float:
    """Return the seconds of an open trial: at its own pace, with the epochs that others used."""
    done = len(trial.rows)
    longer = [epochs for epochs in used if epochs > done]
    epochs = _mean(longer) - done if longer else trial.spec.epochs - done
    return open_seconds(trial, pace, epochs, is_running=is_running)


def open_seconds(trial: TrialSnapshot, pace: float, epochs: float, *, is_running: bool) -> float:
    """Return the seconds that the next epochs of an open trial take.

    Args:
        trial: the trial.
        pace: seconds of an epoch, for a trial that has none yet.
        epochs: how many epochs it still trains.
        is_running: whether a worker has it, so that its next epoch has begun.
    """
    done, rows = len(trial.rows), trial.rows
    own = sum(row.seconds for row in rows) / done if rows else pace
    since = max(0.0, time.time() - rows[-1].timestamp / 1000) if rows and is_running else 0.0
    return max(0.0, epochs * own - min(since, own))


def _mean(values: Sequence[int]) -> float:
    return sum(values) / len(values)


def time_left_text(left: TimeLeft) -> str:
    """Return the estimate as text: `about 12 min left with 2 workers, …`."""
    pace = f"at the pace of the last {count(left.trials, 'trial')}"
    if left.seconds is None:
        work = f"about {_coarsely(left.work)} of work left for one worker, {pace}"
        return f"no worker has a trial now; {work}"
    return f"about {_coarsely(left.seconds)} left with {count(left.workers, 'worker')}, {pace}"


def _coarsely(seconds: float) -> str:
    """Return the time as `roughly` does, but in steps of ten seconds: it is no countdown."""
    return roughly(max(10.0, 10 * round(seconds / 10)))


def roughly(seconds: float) -> str:
    """Return an estimated time, rounded: `40 s`, `12 min`, `1.5 h`, `30 h`."""
    if seconds < 59.5:
        return f"{seconds:.0f} s"
    if seconds < 3570:
        return f"{seconds / 60:.0f} min"
    hours = seconds / 3600
    return f"{hours:.1f} h" if hours < 9.95 else f"{hours:.0f} h"
