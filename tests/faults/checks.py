"""What must be true of a sweep that has ended, whatever faults happened before."""

import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import optuna
from mlflow.tracking import MlflowClient
from optuna.storages.journal import JournalFileBackend

from sweeps.search.study import Study, StudyTrial
from sweeps.storage.paths import TrialPaths
from sweeps.storage.sweep import Sweep
from sweeps.storage.trial_record import State, TrialResult, read_curve, read_result, read_spec
from tests.faults.sites import Site

TIMES = {"train/images_per_second", "train/steps_per_second"}
"""Metrics of the speed of an epoch, which differ from one run to the next."""


@dataclass(frozen=True)
class Outcome:
    """The result of the checks: if `problems` is empty, nothing was lost or recorded twice.

    Attributes:
        problems: what is not as it must be.
        trials: how many trials the sweep has.
        epochs: how many epochs they have together.
        again: how many times an epoch was computed again.
    """

    problems: list[str]
    trials: int
    epochs: int
    again: int


def judge(site: Site, uri: str) -> Outcome:
    """Compare folders, study and MLflow with each other and with the experiment."""
    sweep = site.sweep()
    trials = sweep.paths.trials()
    curves = [read_curve(trial) for trial in trials]
    problems = [
        *_total(sweep, trials),
        *_study(sweep, trials, site.deleted),
        *(problem for trial in trials for problem in _curve(trial)),
        *_tracked(sweep, trials, uri, site.deleted),
        *_left_running(site),
        *_repeated(sweep, trials),
    ]
    return Outcome(problems, len(trials), sum(map(len, curves)), sum(map(_again, trials)))


def _total(sweep: Sweep, trials: list[TrialPaths]) -> Iterator[str]:
    results = [read_result(trial) for trial in trials]
    states = Counter(result.state if result else State.RUNNING for result in results)
    if len(trials) != sweep.experiment.trials or states[State.FAILED] or states[State.RUNNING]:
        yield f"{sweep.experiment.trials} trials are planned; there are {dict(states)}"


def _study(sweep: Sweep, trials: list[TrialPaths], deleted: set[int]) -> Iterator[str]:
    study = Study(sweep.paths, sweep.experiment, stale_after=5)
    members = {m.number: m for m in study.trials() if m.duplicate_of is None}
    numbers = {trial.number for trial in trials}
    for number in members.keys() - numbers - deleted:
        if members[number].reported != "failed":
            yield f"the study has trial {number}, and there is no folder"
    for trial in trials:
        yield from _member(trial, members.get(trial.number))
    stock = optuna.load_study(
        study_name=sweep.experiment.name,
        storage=optuna.storages.JournalStorage(JournalFileBackend(str(sweep.paths.study))),
    )
    values = [r.value for r in map(read_result, trials) if r and r.state is State.COMPLETE]
    reported = [t.value for t in stock.trials if t.number in numbers and t.value is not None]
    if values and max(v for v in values if v is not None) != max(reported):
        yield "the study's best trial is not that of the folders"


def _member(trial: TrialPaths, member: StudyTrial | None) -> Iterator[str]:
    result = read_result(trial)
    if member is None or result is None:
        yield f"{trial.name}: the study does not know it, or it has not ended"
        return
    epochs = [row.epoch for row in read_curve(trial)]
    if sorted(member.curve) != epochs:
        yield f"{trial.name}: epochs {epochs} in the folder, {sorted(member.curve)} in the study"
    if member.reported != ("pruned" if result.state is State.PRUNED else "value"):
        yield f"{trial.name}: {result.state} in the folder, {member.reported} in the study"


def _curve(trial: TrialPaths) -> Iterator[str]:
    result, rows = read_result(trial), read_curve(trial)
    epochs = [row.epoch for row in rows]
    if result is None or epochs != list(range(1, result.epochs + 1)):
        yield f"{trial.name}: its curve has the epochs {epochs}"


def _tracked(sweep: Sweep, trials: list[TrialPaths], uri: str, deleted: set[int]) -> Iterator[str]:
    client = MlflowClient(tracking_uri=uri)
    experiment = client.get_experiment_by_name(sweep.paths.name)
    runs = client.search_runs([experiment.experiment_id], max_results=5000)
    counted = Counter(run.info.run_name for run in runs)
    names = {trial.name for trial in trials} | {sweep.paths.name}
    unknown = {n for n in counted if n not in names and int(n.partition("-")[0]) not in deleted}
    if unknown or names - counted.keys() or set(counted.values()) != {1}:
        doubled = [name for name, count in counted.items() if count > 1]
        yield f"MLflow: twice {doubled}, missing {names - counted.keys()}, unknown {unknown}"
    by_name = {run.info.run_name: run for run in runs}
    for trial in trials:
        if trial.name in by_name:
            yield from _history(client, trial, by_name[trial.name], sweep)
    best = by_name[sweep.paths.name].data.tags.get("sweep.best")
    if best != _best(sweep, trials):
        yield f"the best trial is {best} in MLflow, and {_best(sweep, trials)} in the folders"


def _history(client: MlflowClient, trial: TrialPaths, run: Any, sweep: Sweep) -> Iterator[str]:
    metric, rows = sweep.experiment.objective.metric, read_curve(trial)
    points = client.get_metric_history(run.info.run_id, metric)
    found = sorted((p.step, p.value) for p in points)
    if found != [(row.epoch, row.metrics[metric]) for row in rows]:
        yield f"{trial.name}: MLflow has the points {found}, the folder {len(rows)} rows"
    if run.info.status != "FINISHED":
        yield f"{trial.name}: {run.info.status} in MLflow"


def _best(sweep: Sweep, trials: list[TrialPaths]) -> str | None:
    """Return the best trial, computed from the results in the folders alone."""
    found: list[tuple[float, str]] = []
    for trial in trials:
        result: TrialResult | None = read_result(trial)
        if result is not None and result.state is State.COMPLETE and result.value is not None:
            found.append((-sweep.experiment.objective.sign * result.value, trial.name))
    return min(found)[1] if found else None


def _left_running(site: Site) -> Iterator[str]:
    if found := site.processes():
        yield f"processes are left: {found}"


def _again(trial: TrialPaths) -> int:
    """Return how many times an epoch of a trial was computed again; 0 if that is not logged."""
    log = trial.folder / "computed.log"
    counted = Counter(log.read_text().split()) if log.exists() else Counter()
    return sum(times - 1 for times in counted.values())


def _repeated(sweep: Sweep, trials: list[TrialPaths]) -> Iterator[str]:
    """Train each interrupted trial again without interruption: every metric must be equal."""
    for trial in trials:
        if len(trial.attempts()) > 1:
            rows = read_curve(trial)
            expected = _uninterrupted(sweep, trial, len(rows))
            if [_comparable_metrics(row.metrics) for row in rows] != expected:
                yield f"{trial.name}: its curve differs from that of an uninterrupted training"


def _uninterrupted(sweep: Sweep, trial: TrialPaths, epochs: int) -> list[dict[str, float]]:
    trainer, spec = sweep.resolved.trainer, read_spec(trial)
    done = 0

    def should_stop() -> bool:
        return done >= epochs

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "sweep" / "trials" / "trial" / "attempts" / "1" / "checkpoints"
        folder.mkdir(parents=True)
        rows = []
        for epoch in trainer.fit(
            trainer.config.model_validate(spec.config),
            folder,
            continue_from=(),
            threads=spec.threads,
            should_stop=should_stop,
            objective=sweep.experiment.objective,
            accumulation_steps=1,
        ):
            rows.append(_comparable_metrics(epoch.metrics))
            done += 1
        return rows


def _comparable_metrics(metrics: Any) -> dict[str, float]:
    return {name: value for name, value in metrics.items() if name not in TIMES}


Judge = Callable[[Site, str], Outcome]
