"""The trials that a report shows, of one sweep or of several."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sweeps.config.experiment import Objective
from sweeps.config.space import Scalar
from sweeps.storage.sweep import Sweep
from sweeps.storage.trial_record import State, TrialSnapshot
from sweeps.trainer import FinishedEpoch


@dataclass(frozen=True)
class ReportTrial:
    """One trial.

    Attributes:
        label: what it is called in the report: `7`, or `quickstart:7` among several sweeps.
        name: its number and signature.
        sweep: the name of its sweep.
        state: its state.
        value: the objective at its best epoch so far; None before the first epoch, or if it
            diverged or failed.
        best_epoch: the epoch of that value.
        values: the searched values by dotted path.
        rows: its epochs.
        group: what it is compared as: the choice of an optimizer, say, or its sweep.
    """

    label: str
    name: str
    sweep: str
    state: State
    value: float | None
    best_epoch: int | None
    values: Mapping[str, Scalar]
    rows: Sequence[FinishedEpoch]
    group: str

    @property
    def is_complete(self) -> bool:
        """Whether its value may be compared with that of other complete trials."""
        return self.state is State.COMPLETE and self.value is not None

    @property
    def seconds(self) -> float:
        """The time that its epochs took."""
        return sum(row.seconds for row in self.rows)


def report_trials(
    sweep: Sweep, snapshots: Sequence[TrialSnapshot], *, several: bool
) -> list[ReportTrial]:
    """Return a sweep's trials in the order of their numbers.

    Args:
        sweep: the sweep.
        snapshots: the records of its trials.
        several: whether the report shows other sweeps, too.
    """
    grouping = None if several else grouping_path(sweep)
    return [_report_trial(sweep, each, grouping, several=several) for each in snapshots]


def grouping_path(sweep: Sweep) -> str | None:
    """Return the first searched path whose choices are names, such as optimizers."""
    space = sweep.experiment.space
    return next((path for path, domain in space.items() if _are_names(domain)), None)


def rank_complete(trials: Sequence[ReportTrial], objective: Objective) -> list[ReportTrial]:
    """Return the complete trials, the best first."""
    complete = [trial for trial in trials if trial.is_complete]
    return sorted(complete, key=lambda trial: -objective.sign * (trial.value or 0.0))


def _are_names(domain: object) -> bool:
    return isinstance(domain, list) and all(isinstance(value, str) for value in domain)


def _report_trial(
    sweep: Sweep, snapshot: TrialSnapshot, grouping: str | None, *, several: bool
) -> ReportTrial:
    name, number = sweep.paths.name, snapshot.paths.number
    epoch, value = _best(snapshot, sweep.experiment.objective)
    if several:
        group = name
    else:
        group = "" if grouping is None else str(snapshot.spec.values.get(grouping, ""))
    return ReportTrial(
        label=f"{name}:{number}" if several else str(number),
        name=snapshot.paths.name,
        sweep=name,
        state=State.RUNNING if snapshot.result is None else snapshot.result.state,
        value=value,
        best_epoch=epoch,
        values=snapshot.spec.values,
        rows=snapshot.rows,
        group=group,
    )


def _best(snapshot: TrialSnapshot, objective: Objective) -> tuple[int | None, float | None]:
    """Return the best epoch so far and its value."""
    result = snapshot.result
    if result is not None and result.state in {State.DIVERGED, State.FAILED}:
        return None, None
    if result is not None and result.state is State.COMPLETE:
        return result.best_epoch, result.value
    curve = {
        row.epoch: row.metrics[objective.metric]
        for row in snapshot.rows
        if math.isfinite(row.metrics.get(objective.metric, math.nan)) and not row.diverged
    }
    best = max(curve, key=lambda epoch: objective.sign * curve[epoch], default=None)
    return best, None if best is None else curve[best]
