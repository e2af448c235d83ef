"""When a trial and a sweep began and ended, from what their workers recorded.

The times of files would be wrong in a copy of the runs, and the time of a publication is wrong
when a sweep is published again.
"""

from sweeps.filesystem import atomic
from sweeps.storage.paths import SweepPaths, TrialPaths
from sweeps.storage.sweep import time_made
from sweeps.storage.trial_record import read_curve


def trial_started(trial: TrialPaths) -> float:
    """Return when the trial was first claimed, in seconds since 1970."""
    claims = (atomic.read_json(attempt.claim) for attempt in trial.attempts()[:1])
    times = [float(claim["time"]) for claim in claims if claim is not None]
    return times[0] if times else trial.config.stat().st_mtime


def trial_ended(trial: TrialPaths) -> float:
    """Return when the last epoch ended or, without an epoch, when the trial was last claimed.

    In seconds since 1970.
    """
    if rows := read_curve(trial):
        return rows[-1].timestamp / 1000
    claims = (atomic.read_json(attempt.claim) for attempt in trial.attempts())
    return max((float(claim["time"]) for claim in claims if claim), default=trial_started(trial))


def sweep_started(sweep: SweepPaths) -> float:
    """Return when the sweep was made or, if that was not recorded, when the first trial began.

    In seconds since 1970.
    """
    if (made := time_made(sweep)) is not None:
        return made
    return min(map(trial_started, sweep.trials()), default=sweep.identity.stat().st_mtime)


def sweep_ended(sweep: SweepPaths) -> float:
    """Return when the last trial ended, in seconds since 1970."""
    return max(map(trial_ended, sweep.trials()), default=sweep_started(sweep))
