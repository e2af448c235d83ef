"""Finding a trial by what a person types: its number, its name, or the beginning of its name."""

import itertools
from collections.abc import Iterator, Sequence

from sweeps.errors import InputError
from sweeps.storage.paths import TrialPaths
from sweeps.storage.sweep import Sweep
from sweeps.storage.sweep_totals import rank_trials
from sweeps.storage.trial_record import read_snapshot

BEST = "best"
"""What a person types for the best complete trial; no trial's name begins like this."""


def best_trial(sweep: Sweep) -> TrialPaths | None:
    """Return the complete trial with the best value, which all views mark; None if none is."""
    snapshots = map(read_snapshot, sweep.paths.trials())
    ranked = rank_trials(snapshots, sweep.experiment.objective)
    return ranked[0][0] if ranked else None


def find_trial(sweep: Sweep, wanted: str) -> TrialPaths:
    """Return the trial that is meant: `7`, `0007-1a2b3c4d`, a unique prefix of it, or `best`.

    Digits alone are a number.

    Raises:
        InputError: there is no such trial, or several names begin like this.
    """
    if wanted == BEST:
        if (best := best_trial(sweep)) is None:
            raise InputError(f"sweep {sweep.paths.name!r} has no best trial: none is complete yet")
        return best
    trials = sweep.paths.trials()
    is_number = wanted.isascii() and wanted.isdigit()
    number = wanted.lstrip("0") or "0"  # as a text: one of thousands of digits is none to Python
    found = [
        trial
        for trial in trials
        if (str(trial.number) == number if is_number else wanted and trial.name.startswith(wanted))
    ]
    if len(found) == 1:
        return found[0]
    if found:
        names = ", ".join(sorted(trial.name for trial in found))
        raise InputError(f"{wanted!r} means several trials of sweep {sweep.paths.name!r}: {names}")
    there = ", ".join(_ranges(trials)) or "none yet"
    raise InputError(
        f"sweep {sweep.paths.name!r} has no trial {wanted!r}; the trials there are: {there}"
    )


def _ranges(trials: Sequence[TrialPaths]) -> Iterator[str]:
    """Yield the numbers of the trials, those in a row as `0 to 11`."""
    numbered = enumerate(trial.number for trial in trials)
    for _, group in itertools.groupby(numbered, key=lambda pair: pair[1] - pair[0]):
        row = [number for _, number in group]
        yield str(row[0]) if len(row) == 1 else f"{row[0]} to {row[-1]}"
