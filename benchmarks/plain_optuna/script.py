"""What a user would write in an afternoon instead, to meet the same faults.

Plain Optuna: a journal on a file, `study.optimize` in two processes, one `mlflow.log_metric` an
epoch, checkpoints as they come, and a loop in the shell that starts a process again when it died.
Nothing is there to make it look bad: it carries on with the study, asks only for what is missing,
and prunes. `python -m benchmarks.plain_optuna.script FOLDER TRIALS URI` is one of its processes.
"""

import json
import os
import sys
import time
from pathlib import Path
from typing import Any

import mlflow
import optuna
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.study import MaxTrialsCallback
from optuna.trial import Trial, TrialState

EPOCHS = 6
SECONDS = 0.1


def train_epoch(state: float, config: dict[str, Any]) -> float:
    """The tiny trainer's arithmetic."""
    time.sleep(SECONDS)
    pace = config["learning_rate"] * (0.5 if config["optimizer"] == "sgd" else 1.0)
    return state * (1 - pace / config["batch_size"] ** 0.5)


def save(folder: Path, epoch: int, state: float) -> None:
    """A checkpoint, written aside and renamed."""
    draft = folder / "draft.pt"
    draft.write_text(json.dumps({"epoch": epoch, "state": state}))
    draft.replace(folder / "last.pt")


def objective(trial: Trial, folder: Path) -> float:
    """Train one trial, told to MLflow epoch by epoch."""
    config = {
        "optimizer": trial.suggest_categorical("optimizer", ["adam", "sgd"]),
        "batch_size": trial.suggest_categorical("batch_size", [4, 16, 64]),
        "learning_rate": trial.suggest_float("learning_rate", 1e-3, 1.0, log=True),
    }
    place = folder / f"trial-{trial.number}"
    place.mkdir(exist_ok=True)
    state = score = 1.0
    with mlflow.start_run(run_name=f"trial-{trial.number}"):
        mlflow.log_params(config)
        for epoch in range(1, EPOCHS + 1):
            state = train_epoch(state, config)
            score = 1 - min(2.0, abs(state))
            save(place, epoch, state)
            mlflow.log_metric("val/score", score, step=epoch)
            trial.report(score, epoch)
            if trial.should_prune():
                mlflow.set_tag("state", "pruned")
                raise optuna.TrialPruned
    return score


def study_in(folder: Path) -> optuna.Study:
    """The study, made where it is not there yet."""
    return optuna.create_study(
        study_name="plain",
        storage=JournalStorage(JournalFileBackend(str(folder / "study.jsonl"))),
        direction="maximize",
        load_if_exists=True,
        pruner=optuna.pruners.SuccessiveHalvingPruner(),
    )


def main() -> None:
    """One process of the sweep."""
    folder, trials, uri = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
    if os.environ.get("FAULTS_FOLDER"):
        from benchmarks.plain_optuna.injector import inject_plain

        inject_plain(sys.modules[__name__])
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    mlflow.set_tracking_uri(uri)
    mlflow.set_experiment(folder.name)
    study = study_in(folder)
    ended = (TrialState.COMPLETE, TrialState.PRUNED)
    if len(study.get_trials(deepcopy=False, states=ended)) < trials:
        enough = MaxTrialsCallback(trials, states=ended)
        study.optimize(lambda trial: objective(trial, folder), callbacks=[enough])


if __name__ == "__main__":
    main()
