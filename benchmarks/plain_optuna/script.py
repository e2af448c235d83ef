"""A sweep as a user would write it in an afternoon, without this project.

Plain Optuna: a journal in a file, `study.optimize` in two processes, one `mlflow.log_metric` per
epoch, a checkpoint after each epoch, and a shell loop that restarts a process that died. The script
is a fair one: it resumes the study, asks only for missing trials, and prunes.
`python -m benchmarks.plain_optuna.script FOLDER TRIALS URI` runs one of its processes.
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
    """Compute one epoch, with the same arithmetic as the tiny trainer of the tests."""
    time.sleep(SECONDS)
    pace = config["learning_rate"] * (0.5 if config["optimizer"] == "sgd" else 1.0)
    return state * (1 - pace / config["batch_size"] ** 0.5)


def save(folder: Path, epoch: int, state: float) -> None:
    """Write a checkpoint under another name, then rename it."""
    draft = folder / "draft.pt"
    draft.write_text(json.dumps({"epoch": epoch, "state": state}))
    draft.replace(folder / "last.pt")


def objective(trial: Trial, folder: Path) -> float:
    """Train one trial, and log each epoch to MLflow."""
    config = {
        "optimizer": trial.suggest_categorical("optimizer", ["adam", "sgd"]),
        "batch_size": trial.suggest_categorical("batch_size", [4, 16, 64]),
        "learning_rate": trial.suggest_float("learning_rate", 1e-3, 1.0, log=True),
    }
    trial_folder = folder / f"trial-{trial.number}"
    trial_folder.mkdir(exist_ok=True)
    state = score = 1.0
    with mlflow.start_run(run_name=f"trial-{trial.number}"):
        mlflow.log_params(config)
        for epoch in range(1, EPOCHS + 1):
            state = train_epoch(state, config)
            score = 1 - min(2.0, abs(state))
            save(trial_folder, epoch, state)
            mlflow.log_metric("val/score", score, step=epoch)
            trial.report(score, epoch)
            if trial.should_prune():
                mlflow.set_tag("state", "pruned")
                raise optuna.TrialPruned
    return score


def study_in(folder: Path) -> optuna.Study:
    """Return the study in a folder; create it if it is missing."""
    return optuna.create_study(
        study_name="plain",
        storage=JournalStorage(JournalFileBackend(str(folder / "study.jsonl"))),
        direction="maximize",
        load_if_exists=True,
        pruner=optuna.pruners.SuccessiveHalvingPruner(),
    )


def main() -> None:
    """Run one process of the sweep."""
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
        stop_when_ended = MaxTrialsCallback(trials, states=ended)
        study.optimize(lambda trial: objective(trial, folder), callbacks=[stop_when_ended])


if __name__ == "__main__":
    main()
