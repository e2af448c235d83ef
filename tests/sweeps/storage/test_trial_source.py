"""A trial's folder, or `sweep:number`, means the checkpoint of its best epoch."""

import tomllib
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from sweeps.errors import InputError
from sweeps.storage.trial_lookup import best_trial
from sweeps.storage.trial_record import read_spec
from sweeps.storage.trial_source import find_checkpoint
from tests.sweeps.conftest import MakeSweep, worker_of

ROOT = Path(__file__).parents[3]


def test_a_trial_is_named_by_its_folder_or_by_sweep_and_number(
    make_sweep: MakeSweep, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sweep = make_sweep(trials=2, pruner="none")
    worker_of(sweep).run()
    trial = sweep.paths.trials()[1]
    monkeypatch.setenv("SWEEPS_RUNS", str(tmp_path / "runs"))
    for source in (
        f"{trial.folder}",
        f"{trial.folder}/",
        "tiny:1",
        "tiny:0001",
        f"tiny:{trial.name}",
    ):
        assert find_checkpoint(source) == trial.attempt(1).best_checkpoint
    monkeypatch.delenv("SWEEPS_RUNS")
    monkeypatch.chdir(tmp_path)
    assert find_checkpoint("tiny:1") == trial.attempt(1).best_checkpoint
    assert find_checkpoint(f"runs/tiny/trials/{trial.name}") == trial.attempt(1).best_checkpoint


def test_what_names_no_trial_is_left_to_others(tmp_path: Path) -> None:
    for source in ("best.pt", "a/b", str(tmp_path), "C:/x", "models:/a@b", "", ":", "store:1"):
        assert find_checkpoint(source) is None


def test_a_wrong_trial_is_refused_with_the_valid_ones(
    make_sweep: MakeSweep, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SWEEPS_RUNS", str(tmp_path / "runs"))
    sweep = make_sweep(trials=2, pruner="none")
    worker_of(sweep).run()
    with pytest.raises(InputError, match=r"no trial '7'; the trials there are: 0 to 1"):
        find_checkpoint("tiny:7")
    with pytest.raises(InputError, match=r"no sweep 'other' in .*; the sweeps there are: tiny"):
        find_checkpoint("other:7")
    sweep.paths.trials()[0].attempt(1).best_checkpoint.unlink()
    with pytest.raises(InputError, match=r"trial 0000-\w+ \(complete\) has no checkpoint; only"):
        find_checkpoint("tiny:0")


def test_of_a_trial_without_a_model_the_best_one_is_named_instead(
    make_sweep: MakeSweep, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SWEEPS_RUNS", str(tmp_path / "runs"))
    sweep = make_sweep(trials=2, pruner="none")
    worker_of(sweep).run()
    best = best_trial(sweep)
    (other,) = (trial for trial in sweep.paths.trials() if trial != best)
    other.attempt(1).best_checkpoint.unlink()
    for source in (f"tiny:{other.number}", str(other.folder)):
        with pytest.raises(InputError, match=rf"; take the best one, {best.name}: tiny:best$"):
            find_checkpoint(source)
    assert find_checkpoint("tiny:best") == best.attempt(1).best_checkpoint
    best.attempt(1).best_checkpoint.unlink()
    with pytest.raises(InputError, match=r"only complete trials and running ones keep one$"):
        find_checkpoint("tiny:0")


def test_the_package_names_this_function_for_the_other_program() -> None:
    from vqvae.inference.load import CHECKPOINTS

    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    entries = project["entry-points"][CHECKPOINTS]
    assert EntryPoint("trials", entries["trials"], CHECKPOINTS).load() is find_checkpoint


def test_a_trial_has_its_configuration_as_toml(make_sweep: MakeSweep) -> None:
    sweep = make_sweep(trials=1)
    worker_of(sweep).run()
    trial = sweep.paths.trials()[0]
    content = tomllib.loads(trial.config_toml.read_text(encoding="utf-8"))
    config = sweep.resolved.trainer.config
    assert config.model_validate(content) == config.model_validate(read_spec(trial).config)
