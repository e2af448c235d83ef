"""Hyperparameter sweeps on SLURM clusters; all shared state is in one folder per sweep."""

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sweeps.monitor.trial_report import TrialReport


def load_trial(sweep: str, trial: int | str, runs: Path | str | None = None) -> "TrialReport":
    """Return a trial as its folder has it now: state, value, configuration, curve, files.

    Args:
        sweep: the name of the sweep.
        trial: the trial's number, its name, or the beginning of its name.
        runs: the folder with all sweeps (default: `$SWEEPS_RUNS`, or `runs` here).

    Raises:
        ValueError: there is no such sweep or trial; the message says which there are.
    """
    from sweeps.monitor.trial_report import find_trial_report

    return find_trial_report(sweep, str(trial), None if runs is None else Path(runs))
