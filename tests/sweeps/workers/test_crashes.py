"""`kill -9` at every step: the next worker gives the same sweep as one without interruption."""

import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable

import pytest

from sweeps.search.study import Study
from sweeps.storage.sweep import Sweep
from sweeps.storage.trial_record import read_curve, read_result, read_spec, state_of
from sweeps.tracking.sync import forget_publication, publish_once
from tests.sweeps.conftest import MakeSweep, worker_of
from tests.sweeps.crashing import STEPS

PROPOSES_AGAIN = {
    "in a proposal, after the trial in the study",
    "in a proposal, before the folder",
    "in a proposal, with an incomplete folder",
    "half a line of the journal",
}
"""Steps at which a proposal is lost with its number: later trials are sampled with other seeds."""


def crash(sweep: Sweep, step: str, times: int) -> None:
    command = [sys.executable, "-m", "tests.sweeps.crashing", step, str(times)]
    ended = subprocess.run([*command, str(sweep.paths.folder)], capture_output=True, timeout=60)
    assert ended.returncode == -signal.SIGKILL, ended.stderr.decode()


def outcome(sweep: Sweep) -> list[tuple[object, ...]]:
    """Return each trial's values, result and curve, without names and times, which may differ."""
    found = []
    for paths in sweep.paths.trials():
        result = read_result(paths)
        assert result is not None
        curve = [(row.epoch, dict(row.metrics)) for row in read_curve(paths)]
        found.append((read_spec(paths).values, result, curve))
    return found


def check_complete(sweep: Sweep) -> None:
    """Check that folders, study and MLflow have every trial and each of its epochs once."""
    study = Study(sweep.paths, sweep.experiment, stale_after=5)
    members = {member.number: member for member in study.trials() if member.duplicate_of is None}
    folders = {paths.number: paths for paths in sweep.paths.trials()}
    assert len(folders) == sweep.experiment.trials
    discarded = [m for m in members.values() if m.number not in folders]
    assert all(member.reported == "failed" for member in discarded)
    for number, paths in folders.items():
        epochs = [row.epoch for row in read_curve(paths)]
        result = read_result(paths)
        assert result is not None
        assert epochs == list(range(1, result.epochs + 1))
        assert sorted(members[number].curve) == epochs
        pruned = result.state == "pruned"
        assert members[number].reported == ("pruned" if pruned else "value")
        assert members[number].value == (None if pruned else pytest.approx(result.value))
    check_mlflow(sweep)


def check_mlflow(sweep: Sweep) -> None:
    from mlflow.tracking import MlflowClient

    client = MlflowClient(tracking_uri=f"sqlite:///{sweep.paths.runs.folder / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("tiny")
    runs = {run.info.run_name: run for run in client.search_runs([experiment.experiment_id])}
    assert len(runs) == sweep.experiment.trials + 1
    for paths in sweep.paths.trials():
        run = runs[paths.name]
        assert (run.info.status, run.data.tags["sweep.state"]) == ("FINISHED", state_of(paths))
        assert {"learning_rate", "optimizer", "batch_size"} <= run.data.params.keys()
        artifacts = {file.path for file in client.list_artifacts(run.info.run_id)}
        kept = {"checkpoints"} if state_of(paths) == "complete" else set()
        assert artifacts == kept | {"config.json", "figure.png"}
        history = client.get_metric_history(runs[paths.name].info.run_id, "val/score")
        rows = read_curve(paths)
        assert [(p.step, p.timestamp) for p in history] == [(r.epoch, r.timestamp) for r in rows]


def check_computed(sweep: Sweep, *, lost: int) -> None:
    """Check that no epoch was trained twice, except `lost` ones without a checkpoint."""
    repeated = 0
    for paths in sweep.paths.trials():
        computed = Counter((paths.folder / "computed.log").read_text().split())
        repeated += sum(times - 1 for times in computed.values())
    assert repeated <= lost


@pytest.fixture(scope="module")
def uninterrupted() -> dict[str, list[tuple[object, ...]]]:
    return {}


@pytest.mark.parametrize("times", [1, 3])
@pytest.mark.parametrize("step", sorted(STEPS.keys() - {"after the claim of an orphan"}))
def test_a_killed_worker_changes_nothing(
    step: str,
    times: int,
    make_sweep: MakeSweep,
    give_store: Callable[[Sweep], None],
    uninterrupted: dict[str, list[tuple[object, ...]]],
) -> None:
    if not uninterrupted:
        whole = make_sweep("whole")
        worker_of(whole).run()
        uninterrupted["tiny"] = outcome(whole)
    sweep = make_sweep()
    give_store(sweep)
    crash(sweep, step, times)
    publish_once(sweep)
    worker_of(sweep).run()
    assert publish_once(sweep) is None
    check_complete(sweep)
    check_computed(sweep, lost=1 if step == "in the middle of a checkpoint" else 0)
    if step not in PROPOSES_AGAIN:
        assert outcome(sweep) == uninterrupted["tiny"]


def test_several_crashes_in_one_trial_are_no_worse_than_one(
    make_sweep: MakeSweep, give_store: Callable[[Sweep], None]
) -> None:
    sweep = make_sweep()
    give_store(sweep)
    crash(sweep, "between row and report", 2)
    crash(sweep, "after the claim of an orphan", 1)
    crash(sweep, "between checkpoint and row", 1)
    crash(sweep, "half a row", 2)
    worker_of(sweep).run()
    assert publish_once(sweep) is None
    check_complete(sweep)
    check_computed(sweep, lost=0)


def test_publishing_twice_changes_nothing(
    make_sweep: MakeSweep, give_store: Callable[[Sweep], None]
) -> None:
    sweep = make_sweep(trials=3)
    give_store(sweep)
    worker_of(sweep).run()
    assert publish_once(sweep) is None
    forget_publication(sweep)
    assert publish_once(sweep) is None
    check_mlflow(sweep)
