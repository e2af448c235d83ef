"""The trials of a sweep in another order than that of their numbers."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from sweeps.config.space import Scalar
from sweeps.errors import InputError
from sweeps.monitor.sweep_status import SweepStatus, TrialStatus
from sweeps.text import did_you_mean

_FIELDS: Mapping[str, Callable[[TrialStatus], Scalar | None]] = {
    "trial": lambda trial: trial.number,
    "state": lambda trial: trial.state,
    "epoch": lambda trial: trial.epoch,
    "seconds": lambda trial: trial.seconds,
}
"""What a trial has beside its objective and its values, by column."""


def sort_trials(status: SweepStatus, column: str) -> SweepStatus:
    """Return the status with its trials ordered by a column, the lowest value first.

    By the objective, the best is first. Trials without a value come last.

    Args:
        status: the state of a sweep.
        column: `trial`, `state`, `epoch`, `seconds`, `best` or the objective's name, or a searched
            hyperparameter, by its short name or its dotted path.

    Raises:
        InputError: there is no such column.
    """
    value = _value_of(status, column)
    known = [trial for trial in status.trials if value(trial) is not None]
    unknown = [trial for trial in status.trials if value(trial) is None]
    ordered = sorted(known, key=lambda trial: _comparable(value(trial)))
    return replace(status, trials=[*ordered, *unknown])


def _value_of(status: SweepStatus, column: str) -> Callable[[TrialStatus], Scalar | None]:
    objective = status.objective
    if column in {"best", objective.metric}:
        return lambda trial: None if trial.best is None else -objective.sign * trial.best
    if column in _FIELDS:
        return _FIELDS[column]
    names = {name for trial in status.trials for name in trial.values}
    paths = {path for trial in status.trials for path in trial.searched}
    if column in names | paths:
        return lambda trial: trial.values.get(column, trial.searched.get(column))
    valid = did_you_mean(column, {"best", objective.metric, *_FIELDS, *names})
    raise InputError(f"sweep {status.name!r} has no column {column!r}{valid}")


def _comparable(value: Any) -> tuple[bool, Any]:
    """Numbers before texts: a list of choices may have both."""
    return (isinstance(value, str), value)
