"""A trial and its model in Python; importing the two packages stays quick."""

import dataclasses
import subprocess
import sys
from pathlib import Path

import pytest

import sweeps
from sweeps.storage.trial_record import read_curve, read_result, read_spec
from tests.sweeps.conftest import MakeSweep, worker_of

HEAVY = ("torch", "numpy", "optuna", "mlflow", "pydantic", "rich", "typer")


@pytest.mark.parametrize("package", ["sweeps", "vqvae"])
def test_importing_a_package_imports_nothing_large(package: str) -> None:
    program = f"import sys, {package}; print([m for m in {HEAVY} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout == "[]\n", done.stderr


def test_what_a_worker_and_a_plan_import_is_optuna_and_nothing_larger() -> None:
    """scikit-learn, which importances need, takes longer to import than everything else here."""
    larger = ("sklearn", "scipy", "pandas", "plotly", "torch", "mlflow")
    modules = "sweeps.search.study, sweeps.cli.internal.work, sweeps.cli.plan"
    program = f"import sys, {modules}; print([m for m in {larger} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout == "[]\n", done.stderr


def test_a_trial_is_loaded_as_a_frozen_value(make_sweep: MakeSweep, tmp_path: Path) -> None:
    sweep = make_sweep(trials=2, epochs=3, pruner="none")
    worker_of(sweep).run()
    paths = sweep.paths.trials()[1]
    result = read_result(paths)
    trial = sweeps.load_trial("tiny", 1, runs=tmp_path / "runs")
    assert (trial.name, trial.number, trial.state) == (paths.name, 1, "complete")
    assert (trial.value, trial.best_epoch) == (result.value, result.best_epoch)
    assert trial.config == read_spec(paths).config
    assert trial.curve == {row.epoch: row.metrics["val/score"] for row in read_curve(paths)}
    assert trial.paths.checkpoint == paths.attempt(1).best_checkpoint
    assert trial == sweeps.load_trial("tiny", paths.name, runs=str(tmp_path / "runs"))
    with pytest.raises(dataclasses.FrozenInstanceError):
        trial.value = 1.0
    for wrong, message in (
        (("tiny", 9), "no trial '9'; the trials there are: 0 to 1"),
        (("../tiny", 0), "'../tiny' is not a valid sweep name"),
        (("other", 0), "no sweep 'other'"),
    ):
        with pytest.raises(ValueError, match=message):
            sweeps.load_trial(*wrong, runs=tmp_path / "runs")
