"""A rerun gives the trial's own numbers, and the sweep does not know of it."""

import shlex
from pathlib import Path

import pytest

from sweeps.errors import InputError
from sweeps.storage.sweep import Sweep
from sweeps.storage.trial_record import State, read_curve, read_result, read_spec
from sweeps.storage.trial_source import find_checkpoint
from sweeps.workers.claims import claim_after
from sweeps.workers.rerun import make_rerun
from tests.sweeps.conftest import MakeSweep, worker_of


def finished(make_sweep: MakeSweep, **settings: object) -> Sweep:
    sweep = make_sweep(trials=3, epochs=5, pruner="none", **settings)
    worker_of(sweep).run()
    return sweep


def values(sweep_trial: object) -> list[float]:
    return [row.metrics["val/score"] for row in read_curve(sweep_trial)]


def files(folder: Path) -> dict[str, bytes]:
    kept = (path for path in folder.rglob("*") if path.is_file() and "reruns" not in path.parts)
    return {str(path): path.read_bytes() for path in kept}


def test_the_same_seed_gives_the_same_numbers_and_the_sweep_is_unchanged(
    make_sweep: MakeSweep,
) -> None:
    sweep = finished(make_sweep)
    trial = sweep.paths.trials()[1]
    before, progress = files(sweep.paths.folder), sweep.progress()
    rerun = make_rerun(sweep, trial, None)
    assert [epoch.epoch for epoch in rerun.train()] == [1, 2, 3, 4, 5]
    assert values(rerun.paths) == values(trial)
    assert read_result(rerun.paths) == read_result(trial)
    assert rerun.paths.name == f"{trial.name}-seed-0"
    assert find_checkpoint(str(rerun.paths.folder)) == rerun.paths.attempt(1).best_checkpoint
    assert rerun.paths.attempt(1).figure.exists()
    assert list(rerun.train()) == []  # it is trained already
    assert (files(sweep.paths.folder), sweep.progress()) == (before, progress)


def test_another_seed_is_another_training(make_sweep: MakeSweep) -> None:
    sweep = finished(make_sweep)
    trial = sweep.paths.trials()[0]
    rerun = make_rerun(sweep, trial, 5)
    list(rerun.train())
    assert read_spec(rerun.paths).config["training"]["seed"] == 5
    assert rerun.paths.name.endswith("-seed-5")
    assert values(rerun.paths) != values(trial)


def test_an_interrupted_rerun_continues(make_sweep: MakeSweep) -> None:
    sweep = finished(make_sweep)
    trial = sweep.paths.trials()[2]
    rerun = make_rerun(sweep, trial, None)
    epochs = rerun.train()
    assert [next(epochs).epoch, next(epochs).epoch] == [1, 2]
    epochs.close()
    assert read_result(rerun.paths) is None
    assert [epoch.epoch for epoch in make_rerun(sweep, trial, None).train()] == [2, 3, 4, 5]
    assert values(rerun.paths) == values(trial)
    assert read_result(rerun.paths).state is State.COMPLETE


def test_two_processes_do_not_train_the_same_rerun(make_sweep: MakeSweep) -> None:
    sweep = finished(make_sweep)
    rerun = make_rerun(sweep, sweep.paths.trials()[0], 3)
    assert claim_after(rerun.paths, 0, "rerun") is not None  # by this process, which runs
    with pytest.raises(InputError, match=r"-seed-3: process \d+ of .* trains it; wait for it"):
        list(rerun.train())


def test_the_command_says_both_results(
    make_sweep: MakeSweep, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from sweeps.cli.rerun import rerun

    sweep = finished(make_sweep)
    trial = sweep.paths.trials()[1]
    capsys.readouterr()
    rerun("1", None, None, tmp_path / "runs")
    lines = capsys.readouterr().out.splitlines()
    result = read_result(trial)
    best = f"the best val/score {result.value:.4f} at epoch {result.best_epoch}"
    expected = f"complete after 5 epochs, {best}"
    assert lines[0] == f"epoch 1 of 5: val/score {values(trial)[0]:.4f}"
    assert lines[5:7] == [f"rerun: {expected}", f"trial {trial.name}: {expected}"]
    assert lines[7].startswith("at epoch 5, the last that both reached: val/score ")
    assert lines[7].endswith("in the trial; they are the same")
    folder = make_rerun(sweep, trial, None).paths
    assert lines[8:10] == ["folder of the rerun:", f"  {folder.folder}"]
    assert lines[10:12] == ["its model:", f"  {folder.attempt(1).best_checkpoint}"]
    command = ["show", "1", "--sweep", "tiny", "--runs", str(tmp_path / "runs")]
    assert shlex.split(lines[13])[-6:] == command


def test_a_rerun_and_a_pruned_trial_are_compared_at_the_last_epoch_of_both() -> None:
    from sweeps.cli.rerun import compared

    whole, pruned = {1: 0.2, 2: 0.5, 3: 0.9}, {1: 0.3, 2: 0.55}
    assert compared(whole, pruned, "val/score") == (
        "at epoch 2, the last that both reached: val/score 0.5000 in the rerun and 0.5500 in the "
        "trial; the rerun is 0.0500 lower"
    )
    assert compared(pruned, whole, "val/score").endswith("the rerun is 0.0500 higher")
    assert compared({}, whole, "val/score").startswith("there is no epoch in which both have")
