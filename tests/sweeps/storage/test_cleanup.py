"""`sweeps clean` removes files that are not needed, also while the sweep runs, and no others."""

import os
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from sweeps.storage.cleanup import find_leftovers, remove_leftovers, spare_checkpoints
from sweeps.storage.sweep import Sweep
from sweeps.storage.sweep_totals import rank_trials
from sweeps.storage.trial_record import read_snapshot, state_of
from sweeps.tracking.sync import publish_once
from tests.sweeps.cli.test_main import run  # noqa: F401 (a fixture)
from tests.sweeps.conftest import MakeSweep, worker_of
from tests.sweeps.workers.test_worker import open_gate, wait_for


def contents(sweep: Sweep) -> set[Path]:
    return {path for path in sweep.paths.folder.rglob("*") if path.is_file()}


def old(path: Path) -> Path:
    path.write_bytes(bytes(1000))
    os.utime(path, (time.time() - 7200, time.time() - 7200))
    return path


def test_files_that_are_not_needed_are_removed_and_no_others(
    make_sweep: MakeSweep, monkeypatch: pytest.MonkeyPatch
) -> None:
    sweep = make_sweep(trials=8)
    monkeypatch.setattr("sweeps.workers.trial.trim_checkpoints", lambda trial: None)
    worker_of(sweep).run()
    before = contents(sweep)
    attempt = sweep.paths.trials()[0].attempt(1)
    drafts = {
        old(attempt.checkpoints / ".last.pt.draft-123"),
        old(attempt.folder / ".metrics.jsonl.0123456789ab"),
        old(sweep.paths.folder / ".plan.json.0123456789ab"),
    }
    fresh = attempt.checkpoints / ".last.pt.draft-124"
    fresh.touch()
    found = find_leftovers(sweep)
    assert [leftover.kind.split()[0] for leftover in found] == ["checkpoints", "unfinished"]
    assert found[1].size == 3000
    assert contents(sweep) == before | drafts | {fresh}  # finding removes nothing
    remove_leftovers(found)
    removed = {"last.pt", "previous.pt"}
    pruned = {t.folder for t in sweep.paths.trials() if state_of(t) == "pruned"}
    kept = {
        path
        for path in before
        if path.name not in removed and not (path.name == "best.pt" and pruned & set(path.parents))
    }
    assert contents(sweep) - {fresh} == kept
    assert pruned
    assert find_leftovers(sweep) == []


def test_removing_a_file_with_a_second_name_frees_nothing(
    make_sweep: MakeSweep, monkeypatch: pytest.MonkeyPatch
) -> None:
    sweep = make_sweep(trials=1, pruner="none")
    monkeypatch.setattr("sweeps.workers.trial.trim_checkpoints", lambda trial: None)
    worker_of(sweep).run()
    attempt = sweep.paths.trials()[0].attempt(1)
    attempt.last_checkpoint.unlink()
    attempt.last_checkpoint.hardlink_to(attempt.best_checkpoint)
    previous = (attempt.checkpoints / "previous.pt").stat().st_size
    assert find_leftovers(sweep)[0].size == previous


def test_best_epochs_are_removed_only_if_mlflow_has_them_and_not_those_of_the_best_trials(
    make_sweep: MakeSweep, give_store: Callable[[Sweep], None]
) -> None:
    sweep = make_sweep(trials=5, pruner="none")
    give_store(sweep)
    worker_of(sweep).run()
    assert spare_checkpoints(sweep, keep=2) is None
    assert publish_once(sweep) is None
    spare = spare_checkpoints(sweep, keep=2)
    snapshots = map(read_snapshot, sweep.paths.trials())
    ranking = [trial for trial, _ in rank_trials(snapshots, sweep.experiment.objective)]
    assert spare.paths == [trial.attempt(1).best_checkpoint for trial in ranking[2:]]
    remove_leftovers([spare])
    assert spare_checkpoints(sweep, keep=2) is None
    left = [trial.attempt(1).best_checkpoint.exists() for trial in ranking]
    assert left == [True] * 2 + [False] * 3


def test_a_running_sweep_loses_nothing(make_sweep: MakeSweep) -> None:
    sweep = make_sweep(trials=6, gate_at=3)
    workers = [threading.Thread(target=worker_of(sweep).run) for _ in range(2)]
    for thread in workers:
        thread.start()
    try:
        wait_for(lambda: len(list(sweep.paths.folder.glob("waiting/*"))) == 2)
        before = contents(sweep)
        remove_leftovers(find_leftovers(sweep))
        assert before <= contents(sweep)
        open_gate(sweep)
        while any(thread.is_alive() for thread in workers):
            remove_leftovers(find_leftovers(sweep))
    finally:
        open_gate(sweep)
        for thread in workers:
            thread.join()
    assert sweep.is_over()
    assert all(len(trial.attempts()) == 1 for trial in sweep.paths.trials())
    for trial in sweep.paths.trials():
        assert trial.attempt(1).best_checkpoint.exists() == (state_of(trial) == "complete")


def test_the_command_lists_the_files_and_removes_them_with_yes(
    make_sweep: MakeSweep,
    run: Callable[..., tuple[int, str, str]],  # noqa: F811
) -> None:
    sweep = make_sweep(trials=1, pruner="none")
    worker_of(sweep).run()
    draft = old(sweep.paths.folder / ".plan.json.0123456789ab")
    runs = ["--runs", str(sweep.paths.runs.folder)]
    status, out, _ = run("clean", *runs)
    assert status == 0
    assert "tiny: unfinished files of killed writers: 1, 0.0 MB" in out
    assert out.endswith("0.0 MB can be removed; remove with: --yes\n")
    assert draft.exists()
    status, out, _ = run("clean", "tiny", "--yes", *runs)
    assert (status, out.endswith("0.0 MB removed\n")) == (0, True)
    assert not draft.exists()
    assert run("clean", *runs)[:2] == (0, "nothing to remove\n")
