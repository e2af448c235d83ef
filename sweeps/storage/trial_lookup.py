"""Finding a trial by what a person types: its number, its name, or the beginning of its name."""

import itertools
from collections.abc import Iterator, Sequence

from sweeps.errors import InputError
from sweeps.storage.paths import SweepPaths, TrialPaths


def find_trial(sweep: SweepPaths, wanted: str) -> TrialPaths:
    """Return the trial with this number (`7`), this name (`0007-1a2b3c4d`), or a unique prefix.

    Digits alone are a number.

    Raises:
        InputError: there is no such trial, or several names begin like this.
    """
    trials = sweep.trials()
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
        raise InputError(f"{wanted!r} means several trials of sweep {sweep.name!r}: {names}")
    there = ", ".join(_ranges(trials)) or "none yet"
    raise InputError(f"sweep {sweep.name!r} has no trial {wanted!r}; the trials there are: {there}")


def _ranges(trials: Sequence[TrialPaths]) -> Iterator[str]:
    """Yield the numbers of the trials, those in a row as `0 to 11`."""
    numbered = enumerate(trial.number for trial in trials)
    for _, group in itertools.groupby(numbered, key=lambda pair: pair[1] - pair[0]):
        row = [number for _, number in group]
        yield str(row[0]) if len(row) == 1 else f"{row[0]} to {row[-1]}"
