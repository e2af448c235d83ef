"""Hyperparameter sweeps on SLURM clusters; all shared state is in one folder per sweep."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sweeps.base_trainer import BaseTrainer as BaseTrainer
    from sweeps.base_trainer import EpochTrainer as EpochTrainer
    from sweeps.monitor.trial_report import TrialReport
    from sweeps.trainer import FinishedEpoch as FinishedEpoch


def __getattr__(name: str) -> Any:
    """Import the classes for a trainer of your own when they are used: pydantic takes a while.

    Raises:
        AttributeError: there is no such class.
    """
    if name in {"BaseTrainer", "EpochTrainer", "FinishedEpoch"}:
        from sweeps import base_trainer

        return getattr(base_trainer, name)
    raise AttributeError(f"module 'sweeps' has no attribute {name!r}")


def load_trial(sweep: str, trial: int | str, runs: Path | str | None = None) -> "TrialReport":
    """Return a trial as its folder has it now: state, value, configuration, curve, files.

    Args:
        sweep: the name of the sweep.
        trial: the trial's number, its name, the beginning of its name, or `best`.
        runs: the folder with all sweeps (default: `$SWEEPS_RUNS`, or `runs` here).

    Raises:
        ValueError: there is no such sweep or trial; the message says which there are.
    """
    from sweeps.monitor.trial_report import find_trial_report

    return find_trial_report(sweep, str(trial), None if runs is None else Path(runs))
