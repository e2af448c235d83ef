"""The state of a sweep, read from its folders alone; cheap enough to be read at any time."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from sweeps.analysis.finding import Finding
from sweeps.analysis.findings import find_all
from sweeps.config.experiment import Objective
from sweeps.config.mlflow_names import describe_renamed, metric_names
from sweeps.config.space import Scalar, short_names
from sweeps.monitor.best_so_far import best_so_far
from sweeps.monitor.confirmation import (
    ConfirmationStatus,
    confirmation_status,
    confirmation_time_left,
)
from sweeps.monitor.phases import sweep_phase, trial_phase
from sweeps.monitor.time_left import TimeLeft, time_left
from sweeps.search.pruning import best_epoch
from sweeps.storage.paths import TrialPaths
from sweeps.storage.progress import Progress, progress_of_states
from sweeps.storage.sweep import STOPPED_BY_HAND, Sweep
from sweeps.storage.sweep_totals import Totals, compute_totals
from sweeps.storage.trial_record import (
    SPEED_SUFFIX,
    State,
    TrialResult,
    TrialSnapshot,
    is_abandoned,
    read_snapshot,
)
from sweeps.trainer import FinishedEpoch
from sweeps.workers.retry import describe_failures


@dataclass(frozen=True)
class TrialStatus:
    """The state of one trial: one row of the table.

    Attributes:
        name: its number and signature.
        state: its final state, or `running`, or `waiting` (for a worker to claim it), or `stopped`
            (waiting, in a sweep that is stopped).
        epoch: the last finished epoch.
        epochs: how many epochs it has if nothing ends it early.
        best: the objective at its best epoch; None before the first epoch.
        values: the searched values, by short name.
        pace: the speed that the trainer reports; None if it reports none.
        seconds_left: seconds to its last epoch; None if it does not run or the time is not known.
        reason: why it diverged or failed; of a running trial, its failures so far.
        is_best: whether no complete trial is better.
        traceback: the file with the latest traceback; None if there is none.
        best_epoch: its best epoch; None before the first epoch, or if it diverged or failed.
        seconds: the time that its epochs took.
        searched: the searched values, by dotted path.
        phase: what its worker does before an epoch of it has ended; empty otherwise.
    """

    name: str
    state: str
    epoch: int
    epochs: int
    best: float | None
    values: Mapping[str, Scalar]
    pace: float | None
    seconds_left: float | None
    reason: str
    is_best: bool
    traceback: Path | None = None
    best_epoch: int | None = None
    seconds: float = 0.0
    searched: Mapping[str, Scalar] = field(default_factory=dict)
    phase: str = ""

    @property
    def number(self) -> int:
        """The trial's number."""
        return int(self.name.partition("-")[0])


@dataclass(frozen=True)
class SweepStatus:
    """The state of a sweep at one moment.

    Attributes:
        name: the sweep's name.
        objective: what is optimized.
        progress: how many trials are planned, reserved and ended.
        trials: the state of each trial.
        totals: trials by state, the best trial, and the time taken.
        is_over: whether nothing is left to do.
        stopped: why the sweep was stopped; None if it was not.
        jobs: lines that describe its jobs.
        renamed: metrics with another name in MLflow, as `old → new`; empty if there are none.
        findings: what a sweep that is over teaches; none before.
        phase: what its jobs do while no trial runs; empty if one does.
        time_left: how long it still takes; None if nothing is left or too little is known.
        best_so_far: the best value after each trial that ended; empty for a confirmation.
        confirmation: which trials it trains again, if it is a confirmation; otherwise None.
    """

    name: str
    objective: Objective
    progress: Progress
    trials: list[TrialStatus]
    totals: Totals
    is_over: bool
    stopped: str | None
    jobs: tuple[str, ...] = ()
    renamed: str = ""
    findings: tuple[Finding, ...] = ()
    phase: str = ""
    time_left: TimeLeft | None = None
    best_so_far: tuple[float, ...] = ()
    confirmation: ConfirmationStatus | None = None


def sweep_status(sweep: Sweep, stopped: str | None, jobs: Sequence[str] = ()) -> SweepStatus:
    """Read the folders of a sweep.

    Args:
        sweep: the sweep.
        stopped: why it was stopped; None if it was not.
        jobs: lines that describe its jobs.
    """
    over = sweep.is_over()
    if over and stopped == STOPPED_BY_HAND:  # its last trials ended before the workers saw it
        stopped = None
    snapshots = [read_snapshot(paths) for paths in sweep.paths.trials()]
    objective = sweep.experiment.objective
    totals = compute_totals(snapshots, objective)
    short = short_names(sweep.experiment.space)
    progress = progress_of_states(map(_state_of, snapshots), sweep.experiment.trials)
    confirmation = confirmation_status(sweep, snapshots)
    best = totals.best if confirmation is None else None  # the same trial, luckier with one seed
    trials = [
        _trial_status(each, objective, best, short, stopped=bool(stopped)) for each in snapshots
    ]
    running = frozenset(trial.name for trial in trials if trial.state == State.RUNNING)
    unfinished = not (over or stopped)
    return SweepStatus(
        name=sweep.paths.name,
        objective=objective,
        progress=progress,
        trials=trials,
        totals=totals,
        is_over=over,
        stopped=stopped,
        jobs=tuple(jobs),
        renamed=describe_renamed(
            metric_names(row.metrics for snapshot in snapshots for row in snapshot.rows)
        ),
        findings=tuple(find_all(sweep, snapshots)) if over else (),
        phase=sweep_phase(sweep, over=over, running=bool(running)),
        time_left=_time_left(snapshots, running, progress, confirmation) if unfinished else None,
        best_so_far=() if confirmation else tuple(best_so_far(snapshots, objective)),
        confirmation=confirmation,
    )


def _time_left(
    snapshots: Sequence[TrialSnapshot],
    running: frozenset[str],
    progress: Progress,
    confirmation: ConfirmationStatus | None,
) -> TimeLeft | None:
    if confirmation is None or not snapshots:
        return time_left(snapshots, running, progress)
    epochs = max(each.spec.epochs for each in snapshots)
    return confirmation_time_left(snapshots, running, progress, epochs)


def _state_of(snapshot: TrialSnapshot) -> State:
    return State.RUNNING if snapshot.result is None else snapshot.result.state


def _trial_status(
    snapshot: TrialSnapshot,
    objective: Objective,
    best_trial: TrialPaths | None,
    short: Mapping[str, str],
    *,
    stopped: bool,
) -> TrialStatus:
    rows, metric = snapshot.rows, objective.metric
    curve = {row.epoch: row.metrics[metric] for row in rows if metric in row.metrics}
    state = trial_state(snapshot.paths, snapshot.result, stopped=stopped)
    at, best = best_value(snapshot.result, curve, objective)
    return TrialStatus(
        name=snapshot.paths.name,
        state=state,
        epoch=rows[-1].epoch if rows else 0,
        epochs=snapshot.spec.epochs,
        best=best,
        best_epoch=at,
        seconds=sum(row.seconds for row in rows),
        values={short.get(path, path): value for path, value in snapshot.spec.values.items()},
        searched=snapshot.spec.values,
        pace=_pace(rows),
        seconds_left=_seconds_left(rows, snapshot.spec.epochs) if state == State.RUNNING else None,
        reason=snapshot.result.reason if snapshot.result else describe_failures(snapshot.paths),
        is_best=snapshot.paths == best_trial,
        traceback=_traceback(snapshot),
        phase=_phase(snapshot) if state == State.RUNNING else "",
    )


def _phase(snapshot: TrialSnapshot) -> str:
    rows = snapshot.rows
    return trial_phase(snapshot.paths.attempts()[-1], rows[-1].epoch if rows else 0)


def _traceback(snapshot: TrialSnapshot) -> Path | None:
    if snapshot.result is not None and snapshot.result.state is not State.FAILED:
        return None
    stored = [a.traceback for a in snapshot.paths.attempts() if a.traceback.exists()]
    return stored[-1] if stored else None


def best_value(
    result: TrialResult | None, curve: Mapping[int, float], objective: Objective
) -> tuple[int | None, float | None]:
    """Return the best epoch and the objective there; None for both if nothing counts."""
    if result is None:
        return best_epoch(curve, objective) if curve else (None, None)
    if result.state is State.DIVERGED:  # its value is the metric's worst one, not one of an epoch
        return None, None
    return result.best_epoch, result.value


def trial_state(paths: TrialPaths, result: TrialResult | None, *, stopped: bool) -> str:
    """Return a trial's final state, or `running`, or `waiting` (`stopped` in a stopped sweep)."""
    if result is not None:
        return result.state.value
    if not is_abandoned(paths.attempts()[-1]):
        return State.RUNNING.value
    return "stopped" if stopped else "waiting"


def _pace(rows: list[FinishedEpoch]) -> float | None:
    speeds = [v for k, v in rows[-1].metrics.items() if k.endswith(SPEED_SUFFIX)] if rows else []
    return speeds[0] if speeds else None


def _seconds_left(rows: list[FinishedEpoch], epochs: int) -> float | None:
    if not rows:
        return None
    pace = sum(row.seconds for row in rows) / len(rows)
    since = max(0.0, time.time() - rows[-1].timestamp / 1000)
    return max(0.0, pace * (epochs - rows[-1].epoch) - since)
