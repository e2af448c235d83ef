"""One trial as its folder has it: configuration, result, epochs, attempts, and where its files are.

`sweeps show` prints it, and `sweeps.load_trial` returns it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sweeps.config.names import NAME_RULE, is_sweep_name
from sweeps.config.space import Scalar
from sweeps.errors import InputError
from sweeps.filesystem import atomic
from sweeps.monitor.sweep_status import best_value, trial_state
from sweeps.storage.paths import AttemptPaths, SweepPaths, TrialPaths
from sweeps.storage.sweep import Sweep, open_sweep, runs_folder, stop_reason
from sweeps.storage.trial_lookup import find_trial
from sweeps.storage.trial_record import (
    TrialResult,
    best_checkpoint,
    is_abandoned,
    read_snapshot,
)
from sweeps.workers.retry import describe_failures


@dataclass(frozen=True)
class AttemptReport:
    """One attempt at a trial.

    Attributes:
        number: its number, from 1.
        host: the host of its worker.
        job: the name of its job's folder.
        slurm_job: the job's id in SLURM; empty elsewhere.
        outcome: how it ended, or `running`.
        logs: the logs of its job's workers that name the trial, or all of them if none does.
        traceback: the file with the traceback of its failure; None if there is none.
    """

    number: int
    host: str
    job: str
    slurm_job: str
    outcome: str
    logs: tuple[Path, ...]
    traceback: Path | None


@dataclass(frozen=True)
class TrialFiles:
    """Where a trial's files are; None for a file that does not exist (any more).

    Attributes:
        folder: the trial's folder.
        config: its specification, as JSON.
        config_toml: its configuration, as the trainer's own command reads it.
        checkpoint: the model of the best epoch.
        figure: results of the best model.
    """

    folder: Path
    config: Path
    config_toml: Path | None
    checkpoint: Path | None
    figure: Path | None


@dataclass(frozen=True)
class TrialReport:
    """One trial.

    Attributes:
        sweep: the name of its sweep.
        number: its number.
        name: its number and signature.
        state: its final state, or `running`, `waiting` or `stopped`.
        objective: the metric that is optimized.
        value: the objective at the best epoch; None before the first epoch, or if the trial
            diverged or failed.
        best_epoch: the best epoch; None if there is none.
        reason: why it diverged or failed; of a running trial, its failures so far.
        epochs: how many epochs have ended.
        planned_epochs: how many epochs it has if nothing ends it early.
        seconds: the time that its epochs took.
        values: the searched values, by dotted path.
        config: the whole configuration.
        curve: the objective by epoch.
        attempts: its attempts, in order.
        paths: where its files are.
    """

    sweep: str
    number: int
    name: str
    state: str
    objective: str
    value: float | None
    best_epoch: int | None
    reason: str
    epochs: int
    planned_epochs: int
    seconds: float
    values: Mapping[str, Scalar]
    config: Mapping[str, Any]
    curve: Mapping[int, float]
    attempts: tuple[AttemptReport, ...]
    paths: TrialFiles


def find_trial_report(sweep: str, trial: str, runs: Path | None) -> TrialReport:
    """Read the trial that is meant, as `find_trial` takes it; see `sweeps.load_trial`.

    Raises:
        InputError: there is no such sweep or trial.
    """
    if not is_sweep_name(sweep):
        raise InputError(f"{sweep!r} is not a valid sweep name; a name is {NAME_RULE}")
    opened = open_sweep(runs_folder(runs).sweep(sweep))
    return read_trial_report(opened, find_trial(opened, trial))


def read_trial_report(sweep: Sweep, paths: TrialPaths) -> TrialReport:
    """Read a trial's folder."""
    snapshot = read_snapshot(paths)
    objective, rows, result = sweep.experiment.objective, snapshot.rows, snapshot.result
    metric = objective.metric
    curve = {row.epoch: row.metrics[metric] for row in rows if metric in row.metrics}
    epoch, value = best_value(result, curve, objective)
    stopped = stop_reason(sweep.paths) is not None
    return TrialReport(
        sweep=sweep.paths.name,
        number=paths.number,
        name=paths.name,
        state=trial_state(paths, result, stopped=stopped),
        objective=metric,
        value=value,
        best_epoch=epoch,
        reason=result.reason if result else describe_failures(paths),
        epochs=rows[-1].epoch if rows else 0,
        planned_epochs=snapshot.spec.epochs,
        seconds=sum(row.seconds for row in rows),
        values=snapshot.spec.values,
        config=snapshot.spec.config,
        curve=curve,
        attempts=tuple(_attempts(sweep.paths, paths, result)),
        paths=_files(paths),
    )


def _attempts(
    sweep: SweepPaths, trial: TrialPaths, result: TrialResult | None
) -> list[AttemptReport]:
    attempts = trial.attempts()
    reports = []
    for attempt in attempts:
        claim = atomic.read_json(attempt.claim)
        is_last = attempt.number == len(attempts)
        reports.append(
            AttemptReport(
                number=attempt.number,
                host=claim["host"],
                job=claim["job"],
                slurm_job=claim["slurm_job"],
                outcome=_outcome(attempt, result, is_last=is_last),
                logs=_logs(sweep, claim["job"], trial.name),
                traceback=_existing(attempt.traceback),
            )
        )
    return reports


def _outcome(attempt: AttemptPaths, result: TrialResult | None, *, is_last: bool) -> str:
    """Return how an attempt ended, or that it runs."""
    failure = atomic.read_json(attempt.failure)
    if failure is not None:
        return f"{failure['kind'].replace('_', ' ')}: {failure['message']}"
    if is_last and result is not None:
        return result.state.value
    if attempt.released.exists():
        return "released: another worker continues the trial"
    if not is_last or is_abandoned(attempt):
        return "its worker is gone"
    return "running"


def _logs(sweep: SweepPaths, job: str, trial: str) -> tuple[Path, ...]:
    logs = sweep.job(job).worker_logs()
    naming = [log for log in logs if trial in log.read_text(encoding="utf-8", errors="replace")]
    return tuple(naming or logs)


def _files(paths: TrialPaths) -> TrialFiles:
    figures = [attempt.figure for attempt in paths.attempts() if attempt.figure.exists()]
    return TrialFiles(
        folder=paths.folder,
        config=paths.config,
        config_toml=_existing(paths.config_toml),
        checkpoint=best_checkpoint(paths),
        figure=figures[-1] if figures else None,
    )


def _existing(path: Path) -> Path | None:
    return path if path.exists() else None
