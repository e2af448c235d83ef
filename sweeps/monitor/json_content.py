"""A sweep and a trial as JSON objects; docs/scripts.md has the keys, which stay."""

from dataclasses import asdict
from typing import Any

from sweeps.monitor.sweep_status import SweepStatus, TrialStatus
from sweeps.monitor.trial_report import TrialReport
from sweeps.storage.trial_record import State


def status_content(status: SweepStatus) -> dict[str, Any]:
    """Return the state of a sweep as a JSON object."""
    best, left = status.totals.best, status.time_left
    return {
        "sweep": status.name,
        "objective": status.objective.metric,
        "direction": status.objective.direction,
        "planned": status.progress.planned,
        "ended": status.progress.ended,
        "is_over": status.is_over,
        "stopped": status.stopped,
        "best": None if best is None else best.number,
        "value": status.totals.value,
        "hours": status.totals.hours,
        "hours_saved_by_pruning": status.totals.hours_saved,
        "phase": status.phase,
        "seconds_left": None if left is None else left.seconds,
        "work_seconds_left": None if left is None else left.work,
        "workers": sum(trial.state == State.RUNNING for trial in status.trials),
        "best_so_far": list(status.best_so_far),
        "jobs": list(status.jobs),
        "trials": [_trial(trial) for trial in status.trials],
    }


def _trial(trial: TrialStatus) -> dict[str, Any]:
    return {
        "number": trial.number,
        "name": trial.name,
        "state": trial.state,
        "phase": trial.phase,
        "epochs": trial.epoch,
        "planned_epochs": trial.epochs,
        "value": trial.best,
        "best_epoch": trial.best_epoch,
        "seconds": trial.seconds,
        "seconds_left": trial.seconds_left,
        "values": dict(trial.searched),
        "reason": trial.reason,
        "traceback": trial.traceback,
    }


def trial_content(report: TrialReport) -> dict[str, Any]:
    """Return a trial as a JSON object: the fields of `TrialReport`, the curve as a list."""
    curve = [{"epoch": epoch, "value": value} for epoch, value in sorted(report.curve.items())]
    return asdict(report) | {"curve": curve}
