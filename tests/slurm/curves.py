"""Checks that a sweep's curves equal those of trainings without interruption."""

from pathlib import Path

from mlflow.tracking import MlflowClient

from sweeps.config.experiment import Objective
from sweeps.search.study import Study
from sweeps.storage.paths import TrialPaths
from sweeps.storage.sweep import Sweep
from sweeps.storage.trial_record import read_curve, read_spec
from tests.sweeps.tiny import Config, trainer

Curve = list[tuple[int, dict[str, float]]]


def check_curves(sweep: Sweep, scratch: Path) -> None:
    """Check every epoch's metrics in the folders, the study and MLflow.

    Each trial is trained again from its configuration without interruption, and must give the same
    metrics.
    """
    study = Study(sweep.paths, sweep.experiment, stale_after=5)
    published = published_curves(sweep)
    metric = sweep.experiment.objective.metric
    for trial in sweep.paths.trials():
        curve: Curve = [(row.epoch, dict(row.metrics)) for row in read_curve(trial)]
        undisturbed = train_undisturbed(trial, scratch / trial.name)
        assert curve == undisturbed[: len(curve)]  # the curve of a pruned trial ends earlier
        values = {epoch: metrics[metric] for epoch, metrics in curve}
        assert study.trial(trial.number).curve == values
        assert published[trial.name] == values


def train_undisturbed(trial: TrialPaths, folder: Path) -> Curve:
    config = Config.model_validate(read_spec(trial).config)
    quick = config.training.model_copy(update={"seconds": 0.0, "gate_at": 0})
    checkpoints = folder / "trials" / "0" / "attempts" / "1" / "checkpoints"
    checkpoints.mkdir(parents=True, exist_ok=True)
    rows = trainer.fit(
        config.model_copy(update={"training": quick}),
        checkpoints,
        continue_from=(),
        threads=1,
        should_stop=lambda: False,
        objective=Objective(metric="val/score"),
        accumulation_steps=1,
    )
    return [(row.epoch, dict(row.metrics)) for row in rows]


def published_curves(sweep: Sweep) -> dict[str, dict[int, float]]:
    """Return each trial's objective by epoch, as published to MLflow."""
    client = MlflowClient(tracking_uri=f"sqlite:///{sweep.paths.runs.folder / 'mlflow.db'}")
    experiment = client.get_experiment_by_name(sweep.paths.name)
    found = {}
    for run in client.search_runs([experiment.experiment_id]):
        points = client.get_metric_history(run.info.run_id, sweep.experiment.objective.metric)
        found[run.info.run_name] = {point.step: point.value for point in points}
    return found
