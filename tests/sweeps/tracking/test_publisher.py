"""What the publisher writes to MLflow."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from mlflow.tracking import MlflowClient

from sweeps.config.mlflow_names import OWN_METRICS
from sweeps.config.space import short_names
from sweeps.storage.paths import RunsPaths
from sweeps.storage.sweep import Sweep, open_sweep
from sweeps.storage.trial_record import State, read_curve, read_result
from sweeps.tracking.access import check_writable
from sweeps.tracking.points import log_dataset
from sweeps.tracking.store import Store, acquire_lease, resolve_store, take_over
from sweeps.tracking.sync import forget_publication, publish_command, publish_once
from sweeps.tracking.times import sweep_started
from tests.sweeps.conftest import MakeSweep, worker_of
from tests.sweeps.workers.test_worker import wait_for


def client_of(runs: Path) -> MlflowClient:
    return MlflowClient(tracking_uri=f"sqlite:///{runs / 'mlflow.db'}")


def runs_by_name(runs: Path) -> dict[str, object]:
    client = client_of(runs)
    experiment = client.get_experiment_by_name("tiny")
    return {run.info.run_name: run for run in client.search_runs([experiment.experiment_id])}


@pytest.fixture
def published(make_sweep: MakeSweep, give_store: Callable[[Sweep], None]) -> Sweep:
    sweep = make_sweep(trials=6)
    give_store(sweep)
    worker_of(sweep).run()
    assert publish_once(sweep) is None
    return sweep


def test_a_sweep_is_a_parent_run_with_a_nested_run_for_each_trial(published: Sweep) -> None:
    runs = runs_by_name(published.paths.runs.folder)
    parent = runs.pop("tiny")
    assert parent.info.status == "FINISHED"
    assert (
        parent.data.metrics["sweep/trials_complete"] + parent.data.metrics["sweep/trials_pruned"]
        == 6
    )
    assert set(runs) == {paths.name for paths in published.paths.trials()}
    for paths in published.paths.trials():
        run = runs[paths.name]
        result = read_result(paths)
        assert run.data.tags["mlflow.parentRunId"] == parent.info.run_id
        assert run.data.tags["sweep.state"] == result.state
        assert run.data.params["learning_rate"]
        assert run.data.params["optimizer"] in {"adam", "sgd"}
        assert run.data.params["training.epochs"] == "9"
        assert run.data.metrics["objective"] == pytest.approx(result.value)
        assert set(run.data.metrics) - {*read_curve(paths)[-1].metrics} == {*OWN_METRICS}
        assert run.data.metrics["best_epoch"] == result.best_epoch


def test_every_metric_of_every_epoch_is_published(published: Sweep) -> None:
    client, runs = client_of(published.paths.runs.folder), runs_by_name(published.paths.runs.folder)
    for paths in published.paths.trials():
        for name in ("val/score", "val/loss", "train/steps_per_second"):
            history = client.get_metric_history(runs[paths.name].info.run_id, name)
            expected = [(r.epoch, r.metrics[name]) for r in read_curve(paths)]
            assert [(point.step, point.value) for point in history] == expected


def test_artifacts_are_found_after_the_runs_folder_was_moved(
    published: Sweep, tmp_path: Path
) -> None:
    moved = tmp_path / "elsewhere"
    shutil.move(published.paths.runs.folder, moved)
    sweep = open_sweep(RunsPaths(moved).sweep("tiny"))
    assert publish_once(sweep) is None
    runs = runs_by_name(moved)
    client = client_of(moved)
    assert len(runs) == 7
    for paths in sweep.paths.trials():
        run = runs[paths.name].info.run_id
        artifacts = {a.path for a in client.list_artifacts(run)}
        if read_result(paths).state is not State.COMPLETE:
            assert artifacts == {"config.json", "figure.png"}
            continue
        assert artifacts == {"checkpoints", "config.json", "figure.png"}
        best = client.download_artifacts(run, "checkpoints/best.pt", str(tmp_path))
        assert Path(best).read_bytes() == paths.attempts()[-1].best_checkpoint.read_bytes()


def test_a_failed_trial_shows_its_traceback(
    make_sweep: MakeSweep, give_store: Callable[[Sweep], None]
) -> None:
    sweep = make_sweep(trials=1, bug="true")
    give_store(sweep)
    worker_of(sweep).run()
    assert publish_once(sweep) is None
    run = runs_by_name(sweep.paths.runs.folder)[sweep.paths.trials()[0].name]
    assert run.info.status == "FAILED"
    assert run.data.tags["sweep.state"] == State.FAILED
    assert "a bug of the trainer's" in run.data.tags["sweep.reason"]
    files = {a.path for a in client_of(sweep.paths.runs.folder).list_artifacts(run.info.run_id)}
    assert "traceback.txt" in files


def test_a_host_without_the_lease_does_not_write_to_the_database(
    published: Sweep, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = resolve_store(published.paths.runs, None)
    assert acquire_lease(store)
    monkeypatch.setenv("SWEEPS_HOST", "login2")
    assert not acquire_lease(store)
    assert "sweeps sync --take-over" in publish_once(published)
    take_over(store)
    assert publish_once(published) is None
    monkeypatch.delenv("SWEEPS_HOST")
    assert not acquire_lease(store)


def test_an_unavailable_store_is_reported_and_raises_nothing(make_sweep: MakeSweep) -> None:
    sweep = make_sweep(trials=1)
    worker_of(sweep).run()
    cluster = sweep.plan.cluster.model_copy(update={"tracking": "http://127.0.0.1:9"})
    unavailable = replace(sweep, plan=replace(sweep.plan, cluster=cluster))
    assert "127.0.0.1" in publish_once(unavailable)


def test_a_store_whose_creation_was_killed_is_created_again(make_sweep: MakeSweep) -> None:
    sweep = make_sweep(trials=1)
    worker_of(sweep).run()
    runs = sweep.paths.runs
    publisher = subprocess.Popen(publish_command(sweep.paths))

    def has_begun() -> bool:
        databases = (runs.database, *runs.database_drafts.glob("*.db"))
        return any(path.exists() and path.stat().st_size for path in databases)

    try:
        wait_for(has_begun)
    finally:
        publisher.kill()
        publisher.wait()
    assert not runs.database.exists()
    assert publish_once(sweep) is None
    assert not runs.database_drafts.exists()
    assert set(runs_by_name(runs.folder)) == {"tiny", *(t.name for t in sweep.paths.trials())}


def test_a_publisher_whose_parent_was_killed_before_it_looked_ends(make_sweep: MakeSweep) -> None:
    sweep = make_sweep(trials=1)
    *command, _ = publish_command(sweep.paths)
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    subprocess.run([*command, str(ended.pid)], timeout=60, check=True)
    assert not sweep.paths.runs.database.exists()


def test_a_short_name_is_the_last_part_of_a_path_if_that_is_unique() -> None:
    paths = ["training.learning_rate", "model.size", "data.size"]
    assert short_names(paths) == {"training.learning_rate": "learning_rate"}


def test_a_runs_folder_that_is_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "runs").write_text("a file")
    runs = RunsPaths(tmp_path / "runs")
    with pytest.raises(ValueError, match="the store cannot be written"):
        check_writable(resolve_store(runs, None))
    assert not Store(runs, "http://x").is_database_here


def test_the_last_epochs_are_published_if_the_trial_ends_during_a_publication(
    make_sweep: MakeSweep, give_store: Callable[[Sweep], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    sweep = make_sweep(trials=1, pruner="none")
    give_store(sweep)
    worker_of(sweep).run()
    trial = sweep.paths.trials()[0]
    trial.settled.unlink()

    def read_too_early(paths: object) -> object:
        monkeypatch.undo()
        rows = read_curve(paths)[:-2]
        trial.settled.touch()  # the last two rows and the end come after the curve was read
        return rows

    monkeypatch.setattr("sweeps.tracking.publisher.read_curve", read_too_early)
    assert publish_once(sweep) is None
    assert publish_once(sweep) is None
    client, run = (
        client_of(sweep.paths.runs.folder),
        runs_by_name(sweep.paths.runs.folder)[trial.name],
    )
    assert len(client.get_metric_history(run.info.run_id, "val/score")) == 9
    assert run.info.status == "FINISHED"


def test_a_sweep_that_was_extended_can_be_published_again(
    make_sweep: MakeSweep, give_store: Callable[[Sweep], None]
) -> None:
    sweep = make_sweep(trials=2)
    give_store(sweep)
    worker_of(sweep).run()
    assert publish_once(sweep) is None
    longer = make_sweep(trials=3)
    forget_publication(longer)
    assert publish_once(longer) is None
    assert runs_by_name(sweep.paths.runs.folder)["tiny"].info.status == "RUNNING"
    worker_of(longer).run()
    assert publish_once(longer) is None
    assert runs_by_name(sweep.paths.runs.folder)["tiny"].info.status == "FINISHED"
    assert len(runs_by_name(sweep.paths.runs.folder)) == 4


def test_a_run_that_a_person_deleted_does_not_stop_the_others(
    make_sweep: MakeSweep, give_store: Callable[[Sweep], None]
) -> None:
    sweep = make_sweep(trials=2)
    give_store(sweep)
    worker_of(sweep, trials=1).run()
    assert publish_once(sweep) is None
    first = sweep.paths.trials()[0]
    client_of(sweep.paths.runs.folder).delete_run(
        runs_by_name(sweep.paths.runs.folder)[first.name].info.run_id
    )
    first.mlflow.write_text(first.mlflow.read_text().replace('"done": true', '"done": false'))
    worker_of(sweep).run()
    assert publish_once(sweep) is not None
    second = runs_by_name(sweep.paths.runs.folder)[sweep.paths.trials()[1].name]
    assert second.info.status == "FINISHED"


def test_a_duplicate_run_of_a_request_sent_twice_is_deleted(
    make_sweep: MakeSweep, give_store: Callable[[Sweep], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    original = MlflowClient.create_run

    def create_twice(self: MlflowClient, *args: object, **kwargs: object) -> object:
        original(self, *args, **kwargs)
        return original(self, *args, **kwargs)

    monkeypatch.setattr(MlflowClient, "create_run", create_twice)
    sweep = make_sweep(trials=2)
    give_store(sweep)
    worker_of(sweep).run()
    assert publish_once(sweep) is None
    client = client_of(sweep.paths.runs.folder)
    experiment = client.get_experiment_by_name("tiny")
    names = [run.info.run_name for run in client.search_runs([experiment.experiment_id])]
    assert sorted(names) == sorted(["tiny", *(trial.name for trial in sweep.paths.trials())])
    assert all(
        run.info.status == "FINISHED" for run in runs_by_name(sweep.paths.runs.folder).values()
    )


def times_of(runs: Path) -> dict[str, tuple[int, int]]:
    return {
        name: (run.info.start_time, run.info.end_time) for name, run in runs_by_name(runs).items()
    }


def test_runs_that_are_published_again_from_a_copy_keep_their_times(
    published: Sweep, empty_store: Path, tmp_path: Path
) -> None:
    before = times_of(published.paths.runs.folder)
    start, end = before["tiny"]
    trials = [times for name, times in before.items() if name != "tiny"]
    assert start <= min(began for began, _ in trials)
    assert end == max(ended for _, ended in trials)
    copy = RunsPaths(tmp_path / "copy")
    shutil.copytree(published.paths.runs.folder, copy.folder, copy_function=shutil.copyfile)
    for file in copy.folder.rglob("*.json"):
        os.utime(file, (2_000_000_000, 2_000_000_000))
    sweep = open_sweep(copy.sweep("tiny"))
    copy.database.unlink()
    shutil.copy(empty_store, copy.database)
    forget_publication(sweep)
    assert publish_once(sweep) is None
    assert times_of(copy.folder) == before
    made = json.loads(sweep.paths.identity.read_text())
    del made["made"]
    sweep.paths.identity.write_text(json.dumps(made))
    assert int(sweep_started(sweep.paths) * 1000) == min(began for began, _ in trials)


def description(sweep: Sweep) -> str | None:
    parent = runs_by_name(sweep.paths.runs.folder)["tiny"]
    return parent.data.tags.get("mlflow.note.content")


def test_a_sweep_that_is_over_is_described_by_its_findings(published: Sweep) -> None:
    before = description(published)
    assert before.startswith("- The best trial is 00")
    assert publish_once(published) is None
    assert description(published) == before


def study_page(sweep: Sweep, tmp_path: Path) -> str:
    run = runs_by_name(sweep.paths.runs.folder)["tiny"].info.run_id
    client = client_of(sweep.paths.runs.folder)
    return Path(client.download_artifacts(run, "study.html", str(tmp_path))).read_text("utf-8")


def test_the_plots_of_the_study_are_one_page_that_needs_no_network(
    published: Sweep, tmp_path: Path
) -> None:
    page = study_page(published, tmp_path)
    plots = re.findall("<h2>(.*?)</h2>", page)
    assert {"History", "Curves", "Values tried", "Parallel coordinates"} <= {*plots}
    assert "Importances (fANOVA)" not in plots  # fewer than 20 trials
    assert page.count("Plotly.newPlot(") >= len(plots)
    assert not re.findall(r"<(?:script|link|img)[^>]* (?:src|href)=", page)
    assert len(page) < 8_000_000  # one copy of plotly


def test_each_run_has_the_data_as_its_input_once(published: Sweep) -> None:
    def inputs() -> dict[str, list[tuple[str, str, str]]]:
        runs = runs_by_name(published.paths.runs.folder)
        return {
            name: [(d.dataset.name, d.dataset.digest, d.tags[0].value) for d in each]
            for name, run in runs.items()
            if (each := run.inputs.dataset_inputs)
        }

    expected = [("data", published.plan.fingerprint, "training")]
    assert inputs() == dict.fromkeys(runs_by_name(published.paths.runs.folder), expected)
    forget_publication(published)
    assert publish_once(published) is None
    assert inputs() == dict.fromkeys(runs_by_name(published.paths.runs.folder), expected)


@pytest.mark.parametrize(
    ("fingerprint", "settings", "expected"),
    [
        ("ab" * 32, {"data.root": "data/mine", "x": 1}, [("mine", "ab" * 18, "data/mine")]),
        ("ab", {"data.root": 7}, [("7", "ab", "7")]),
        ("", {"data.root": "data/mine"}, []),
        ("ab", {"data.root": "n" * 600}, [("n" * 499 + "…", "ab", "n" * 600)]),
    ],
)
def test_an_input_has_the_name_of_the_datas_folder(
    published: Sweep,
    fingerprint: str,
    settings: dict[str, object],
    expected: list[tuple[str, str, str]],
) -> None:
    client = client_of(published.paths.runs.folder)
    experiment = client.get_experiment_by_name("tiny").experiment_id
    run = client.create_run(experiment).info.run_id
    log_dataset(client, run, fingerprint, settings)
    found = [each.dataset for each in client.get_run(run).inputs.dataset_inputs]
    assert [(d.name, d.digest, json.loads(d.source)["uri"]) for d in found] == expected


def test_several_data_sets_have_another_digest_than_the_first(published: Sweep) -> None:
    client = client_of(published.paths.runs.folder)
    experiment = client.get_experiment_by_name("tiny").experiment_id
    digests = set()
    for fingerprint in ("a" * 64, f"{'a' * 64}+{'b' * 64}", f"{'a' * 64}+{'c' * 64}"):
        run = client.create_run(experiment).info.run_id
        log_dataset(client, run, fingerprint, {})
        digests |= {each.dataset.digest for each in client.get_run(run).inputs.dataset_inputs}
    assert len(digests) == 3


def test_a_description_that_a_person_wrote_stays(published: Sweep) -> None:
    run = runs_by_name(published.paths.runs.folder)["tiny"].info.run_id
    client_of(published.paths.runs.folder).set_tag(run, "mlflow.note.content", "mine")
    longer = open_sweep(published.paths)
    plan = replace(longer.plan, experiment=longer.experiment.model_copy(update={"trials": 7}))
    assert publish_once(replace(longer, plan=plan)) is None  # not over any more
    assert description(published) == "mine"


def test_findings_of_a_sweep_that_was_extended_are_withdrawn_until_its_end(
    published: Sweep, make_sweep: MakeSweep
) -> None:
    longer = make_sweep(trials=7)
    assert publish_once(longer) is None
    assert not description(published)
    worker_of(longer).run()
    assert publish_once(longer) is None
    assert "The best trial is" in description(published)
