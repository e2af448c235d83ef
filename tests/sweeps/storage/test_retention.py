"""Which checkpoints are kept, and what happens if one is damaged."""

import json
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from sweeps.search.study import Study
from sweeps.storage.paths import AttemptPaths, TrialPaths
from sweeps.storage.retention import unneeded_checkpoints
from sweeps.storage.sweep import Sweep, clear_stop, stop_sweep
from sweeps.storage.trial_record import read_curve, read_result, state_of
from sweeps.tracking.sync import forget_publication, publish_once
from tests.sweeps.conftest import MakeSweep, worker_of
from tests.sweeps.tiny import Tiny
from tests.sweeps.workers.test_crashes import check_mlflow, outcome


def names(attempt: AttemptPaths) -> set[str]:
    return {file.name for file in attempt.checkpoints.glob("*")}


def files_of(trial: TrialPaths) -> list[set[str]]:
    return [names(attempt) for attempt in trial.attempts()]


def stop_after(sweep: Sweep, epochs: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run a worker until the first trial has `epochs` epochs; the next worker continues it."""
    fit = Tiny.fit

    def stopping_fit(*args: object, **kwargs: object) -> object:
        for row in fit(*args, **kwargs):
            yield row
            if row.epoch == epochs:
                stop_sweep(sweep.paths, "for the test")

    with monkeypatch.context() as patch:
        patch.setattr(Tiny, "fit", stopping_fit)
        worker_of(sweep).run()
    clear_stop(sweep.paths)


def test_of_trials_that_have_ended_only_complete_ones_keep_their_best_epoch(
    make_sweep: MakeSweep,
) -> None:
    sweep = make_sweep(trials=8)
    worker_of(sweep).run()
    assert Counter(map(state_of, sweep.paths.trials())).keys() == {"complete", "pruned"}
    for trial in sweep.paths.trials():
        kept = {"best.pt"} if state_of(trial) == "complete" else set()
        assert files_of(trial) == [kept]
        assert trial.attempt(1).figure.exists()


def test_an_attempt_keeps_its_checkpoints_until_the_next_has_an_epoch_of_its_own(
    make_sweep: MakeSweep, monkeypatch: pytest.MonkeyPatch
) -> None:
    sweep = make_sweep(trials=1, pruner="none")
    stop_after(sweep, 3, monkeypatch)
    trial = sweep.paths.trials()[0]
    all_files = {"best.pt", "last.pt", "previous.pt"}
    assert files_of(trial) == [all_files]
    stop_after(sweep, 3, monkeypatch)  # it continues, and is stopped before a new epoch
    assert files_of(trial) == [all_files, {"best.pt", "last.pt"}]
    stop_after(sweep, 4, monkeypatch)
    assert files_of(trial) == [set(), set(), all_files]
    worker_of(sweep).run()
    assert files_of(trial) == [set(), set(), set(), {"best.pt"}]


def test_checkpoints_that_a_killed_worker_did_not_trim_are_trimmed_by_the_next_worker(
    make_sweep: MakeSweep, monkeypatch: pytest.MonkeyPatch
) -> None:
    sweep = make_sweep(trials=2, pruner="none")
    monkeypatch.setattr("sweeps.workers.trial.trim_checkpoints", lambda trial: None)
    worker_of(sweep).run()
    monkeypatch.undo()
    assert all("last.pt" in files_of(trial)[0] for trial in sweep.paths.trials())
    worker_of(sweep).run()
    assert [files_of(trial) for trial in sweep.paths.trials()] == [[{"best.pt"}]] * 2


def test_all_checkpoints_of_an_open_trial_are_needed(
    make_sweep: MakeSweep, monkeypatch: pytest.MonkeyPatch
) -> None:
    sweep = make_sweep(trials=1, pruner="none")
    stop_after(sweep, 3, monkeypatch)
    trial = sweep.paths.trials()[0]
    assert unneeded_checkpoints(trial) == []
    worker_of(sweep).run()
    trial.settled.unlink()  # as if killed between writing the result and reporting it
    trial.attempt(2).last_checkpoint.touch()
    assert unneeded_checkpoints(trial) == []


def truncate(file: Path) -> None:
    content = file.read_bytes()
    file.unlink()  # its other names (hard links) keep the content
    file.write_bytes(content[: len(content) // 2])


@pytest.mark.parametrize("damaged", [["last.pt"], ["last.pt", "previous.pt"]])
@pytest.mark.parametrize("published", [False, True], ids=["not-published", "published-before"])
def test_a_damaged_checkpoint_costs_epochs_and_nothing_else(
    make_sweep: MakeSweep,
    give_store: Callable[[Sweep], None],
    monkeypatch: pytest.MonkeyPatch,
    damaged: list[str],
    published: bool,
) -> None:
    """Continued from the one before, or from the start: same curve, same study, no extra point."""
    whole = make_sweep("whole", trials=2, pruner="none")
    worker_of(whole).run()
    sweep = make_sweep(trials=2, pruner="none")
    give_store(sweep)
    stop_after(sweep, 5, monkeypatch)
    trial = sweep.paths.trials()[0]
    before = read_curve(trial)
    if published:
        assert publish_once(sweep) is None
    for name in damaged:
        truncate(trial.attempt(1).checkpoints / name)
    worker_of(sweep).run()
    if published:
        forget_publication(sweep)  # MLflow has the points already, and they are sent again
    assert publish_once(sweep) is None
    assert outcome(sweep) == outcome(whole)
    computed = (trial.folder / "computed.log").read_text().split()
    assert len(computed) - 9 == (1 if damaged == ["last.pt"] else 5)
    assert [(row.epoch, row.timestamp) for row in read_curve(trial)[:5]] == [
        (row.epoch, row.timestamp) for row in before
    ]
    check_mlflow(sweep)


def test_of_an_epoch_computed_twice_with_different_metrics_the_last_row_counts(
    make_sweep: MakeSweep, monkeypatch: pytest.MonkeyPatch
) -> None:
    """This happens on a GPU, which adds numbers in another order each time."""
    sweep = make_sweep(trials=1, pruner="none")
    stop_after(sweep, 3, monkeypatch)
    trial = sweep.paths.trials()[0]
    truncate(trial.attempt(1).last_checkpoint)
    fit = Tiny.fit

    def different_fit(*args: object, **kwargs: object) -> object:
        for row in fit(*args, **kwargs):
            metrics = {name: value + 1e-6 * (row.epoch == 3) for name, value in row.metrics.items()}
            yield replace(row, metrics=metrics)

    monkeypatch.setattr(Tiny, "fit", different_fit)
    worker_of(sweep).run()
    rows = read_curve(trial)
    assert [row.epoch for row in rows] == list(range(1, 10))
    reported = Study(sweep.paths, sweep.experiment, stale_after=5).trial(0).curve
    assert rows[2].metrics["val/score"] == pytest.approx(reported[3] + 1e-6, abs=1e-12)
    assert read_result(trial).state == "complete"
    assert json.loads(trial.attempt(2).metrics.read_text().splitlines()[0])["epoch"] == 3
