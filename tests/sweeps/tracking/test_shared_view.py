"""The page of a sweep that the publisher prepares in MLflow."""

import io
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

import pytest
from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient
from mlflow.version import VERSION
from PIL import Image

from sweeps.storage.paths import RunsPaths, TrialPaths
from sweeps.storage.sweep import Sweep, open_sweep
from sweeps.storage.trial_record import State, read_result
from sweeps.tracking import publisher
from sweeps.tracking.shared_view import MAX_CHARACTERS, MLFLOW, TAG, Page, decode_view, encode_view
from sweeps.tracking.store import resolve_store
from sweeps.tracking.sync import forget_publication, publish_once
from tests.sweeps import tiny
from tests.sweeps.conftest import MakeSweep, worker_of
from tests.sweeps.tracking.test_publisher import client_of, runs_by_name
from tests.sweeps.tracking.test_ui import ask, free_port

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
PAGE = Page(
    name="a: best first",
    made=0,
    trials="tags.a = 'b'",
    maximize=False,
    columns=["size"],
    axes=["size"],
    against_objective=[],
    curves=["val/loss"],
)


@pytest.fixture
def published(
    make_sweep: MakeSweep, give_store: Callable[[Sweep], None], monkeypatch: pytest.MonkeyPatch
) -> Sweep:
    def write_figure(self: tiny.Tiny, config: object, folder: Path, figure: Path) -> None:
        Image.new("L", (8, 8)).save(figure)

    monkeypatch.setattr(tiny.Tiny, "write_figure", write_figure)
    monkeypatch.setattr(tiny.Tiny, "main_metrics", ("val/loss",), raising=False)
    sweep = make_sweep(trials=4)
    give_store(sweep)
    worker_of(sweep).run()
    assert publish_once(sweep) is None
    return sweep


def view_of(runs: Path) -> str:
    return client_of(runs).get_experiment_by_name("tiny").tags[TAG]


def images_of(client: MlflowClient, run: str) -> list[str]:
    return sorted(file.path for file in client.list_artifacts(run, "images"))


def test_the_format_was_read_off_the_version_that_is_installed() -> None:
    assert VERSION.startswith(MLFLOW)


def test_the_page_has_the_objective_the_hyperparameters_and_the_charts(published: Sweep) -> None:
    view = view_of(published.paths.runs.folder)
    assert json.loads(view)["name"] == "tiny: best first"
    state = decode_view(view)
    assert state["selectedColumns"] == [
        "metrics.`objective`",
        "params.`optimizer`",
        "params.`batch_size`",
        "params.`learning_rate`",
        "tags.`sweep.state`",
    ]
    assert (state["orderByKey"], state["orderByAsc"]) == ("metrics.`objective`", False)
    charts = state["compareRunCharts"]
    kinds = ["PARALLEL", "LINE", "SCATTER", "BAR", "LINE", "LINE", "IMAGE"]
    assert [chart["type"] for chart in charts] == kinds
    axes = ["optimizer", "batch_size", "learning_rate", "log10 learning_rate"]
    assert set(charts[0]["selectedParams"]) == set(axes) - {"learning_rate"}
    assert charts[2]["xaxis"] == {"key": "log10 learning_rate", "type": "PARAM"}
    curves = [chart["metricKey"] for chart in charts if chart["type"] == "LINE"]
    assert curves == ["val/score", "val/loss", "train/steps_per_second"]
    assert charts[-1]["showRunParams"] is False
    assert state["runListHidden"] is True
    found = client_of(published.paths.runs.folder).search_runs(["1"], state["searchFilter"])
    assert {run.info.run_name for run in found} == {t.name for t in published.paths.trials()}
    assert all(axis in run.data.params for run in found for axis in axes)


def test_publishing_again_changes_neither_the_page_nor_the_images_nor_the_table(
    published: Sweep, tmp_path: Path
) -> None:
    runs = published.paths.runs.folder
    client, view, by_name = client_of(runs), view_of(runs), runs_by_name(runs)
    trial = published.paths.trials()[0]
    images = images_of(client, by_name[trial.name].info.run_id)
    assert len(images) == 2
    assert all(name.startswith("images/figure+step+0+") for name in images)
    forget_publication(published)
    assert publish_once(published) is None
    assert view_of(runs) == view
    assert images_of(client, by_name[trial.name].info.run_id) == images
    table = client.download_artifacts(by_name["tiny"].info.run_id, "trials.json", str(tmp_path))
    content = json.loads(Path(table).read_text())
    columns = ["trial", "state", "objective", "optimizer", "batch_size", "learning_rate", "epochs"]
    assert content["columns"] == columns
    assert [row[0] for row in content["data"]] == [t.name for t in published.paths.trials()]
    assert {row[1] for row in content["data"]} <= set(State)


def test_the_image_grid_has_the_preview_if_the_trainer_writes_one(
    make_sweep: MakeSweep,
    give_store: Callable[[Sweep], None],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    def write_figure(self: tiny.Tiny, config: object, folder: Path, figure: Path) -> None:
        Image.new("L", (8, 8)).save(figure)
        Image.new("L", (6, 7)).save(figure.with_name("preview.png"))

    monkeypatch.setattr(tiny.Tiny, "write_figure", write_figure)
    sweep = make_sweep(trials=1, pruner="none")
    give_store(sweep)
    worker_of(sweep).run()
    assert publish_once(sweep) is None
    (trial,) = sweep.paths.trials()
    client = client_of(sweep.paths.runs.folder)
    run = runs_by_name(sweep.paths.runs.folder)[trial.name].info.run_id
    (whole,) = (name for name in images_of(client, run) if "+compressed" not in name)
    with Image.open(client.download_artifacts(run, whole, str(tmp_path))) as image:
        assert image.size == (6, 7)


@pytest.mark.parametrize("length", [0, 20, 300])
def test_a_damaged_figure_keeps_no_run_from_its_end(
    make_sweep: MakeSweep,
    give_store: Callable[[Sweep], None],
    monkeypatch: pytest.MonkeyPatch,
    length: int,
) -> None:
    def write_figure(self: tiny.Tiny, config: object, folder: Path, figure: Path) -> None:
        image = io.BytesIO()
        Image.frombytes("RGB", (16, 16), random.Random(0).randbytes(768)).save(image, "png")
        figure.write_bytes(image.getvalue()[:length])

    monkeypatch.setattr(tiny.Tiny, "write_figure", write_figure)
    sweep = make_sweep(trials=1, pruner="none")
    give_store(sweep)
    worker_of(sweep).run()
    assert publish_once(sweep) is None
    (trial,) = sweep.paths.trials()
    run = runs_by_name(sweep.paths.runs.folder)[trial.name]
    assert run.info.status == "FINISHED"
    client = client_of(sweep.paths.runs.folder)
    assert images_of(client, run.info.run_id) == []
    assert "figure.png" in {file.path for file in client.list_artifacts(run.info.run_id)}


def test_a_page_that_the_store_refuses_keeps_no_sweep_from_its_end(
    make_sweep: MakeSweep, give_store: Callable[[Sweep], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise MlflowException("no tags of experiments here")

    monkeypatch.setattr(MlflowClient, "set_experiment_tag", refuse)
    sweep = make_sweep(trials=2, pruner="none")
    give_store(sweep)
    worker_of(sweep).run()
    assert "no tags of experiments here" in str(publish_once(sweep))
    parent = runs_by_name(sweep.paths.runs.folder)["tiny"]
    assert (parent.info.status, parent.data.tags["sweep.state"]) == ("FINISHED", "complete")
    assert parent.data.tags["mlflow.note.content"].startswith("- The best trial is ")


def test_a_copy_of_the_runs_keeps_the_page(published: Sweep, tmp_path: Path) -> None:
    view, copy = view_of(published.paths.runs.folder), RunsPaths(tmp_path / "copy")
    shutil.copytree(published.paths.runs.folder, copy.folder)
    sweep = open_sweep(copy.sweep("tiny"))
    forget_publication(sweep)
    assert publish_once(sweep) is None
    assert view_of(copy.folder) == view


def test_another_version_of_mlflow_gets_a_link_with_filter_and_order(
    published: Sweep, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = resolve_store(published.paths.runs, None)
    prepared = publisher.trials_page_path(published, store)
    assert prepared.endswith("workflowType=machine_learning&viewStateShareKey=sweep")
    monkeypatch.setattr(publisher, "VERSION", "4.0.0")
    plain = publisher.trials_page_path(published, store)
    assert "viewStateShareKey" not in plain
    assert "workflowType=machine_learning" in plain
    assert "searchFilter=" in plain
    assert "orderByAsc=false" in plain


def test_a_page_with_too_many_charts_loses_the_last_ones() -> None:
    names = [sha256(str(at).encode()).hexdigest() for at in range(150)]
    view = encode_view(Page(**vars(PAGE) | {"against_objective": names}))
    assert len(view) <= MAX_CHARACTERS
    kinds = [chart["type"] for chart in decode_view(view)["compareRunCharts"]]
    assert kinds[:3] == ["PARALLEL", "LINE", "SCATTER"]
    assert 10 < len(kinds) < 150


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium")
def test_a_browser_shows_the_page_that_was_prepared(published: Sweep, tmp_path: Path) -> None:
    port, output = free_port(), tmp_path / "output"
    command = [sys.executable, "-m", "sweeps", "ui", "--port", str(port)]
    with output.open("w") as out:
        server = subprocess.Popen(
            [*command, "--runs", str(published.paths.runs.folder)],
            stdout=out,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
    try:
        ask(port, "/api/2.0/mlflow/experiments/get-by-name?experiment_name=tiny")
        table, charts = re.findall(r"http://\S+/#/experiments/\S+", output.read_text())
        shown = page_text(table, tmp_path, best_first(published)[-1].name)
        places = [shown.find(trial.name) for trial in best_first(published)]
        assert -1 not in places
        assert places == sorted(places)
        assert all(column in shown for column in ("objective", "batch_size", "learning_rate"))
        shown = page_text(charts, tmp_path, "figure (1)")
        texts = ("tiny: best first (6)", "Parallel Coordinates", "log10 learning_rate", "val/score")
        assert all(text in shown for text in texts)
        assert shown.index("tiny: best first (6)") < shown.index("figure (1)")
        assert "Traces" not in shown.partition("Runs")[0]
    finally:
        os.killpg(server.pid, signal.SIGTERM)
        server.wait(timeout=30)


def best_first(sweep: Sweep) -> list[TrialPaths]:
    return sorted(sweep.paths.trials(), key=lambda trial: -read_result(trial).value)


def page_text(url: str, folder: Path, last: str) -> str:
    """Return the text of a page as a browser shows it.

    Chromium's virtual time does not wait for a busy server, so it is asked again until `last` is
    there.
    """
    for _ in range(5):
        shown = _page_text(url, folder)
        if last in shown:
            break
    return shown


def _page_text(url: str, folder: Path) -> str:
    command = [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic"]
    command += ["--no-first-run", "--disable-background-networking", "--disable-sync"]
    command += ["--disable-component-update", f"--user-data-dir={folder / 'browser'}"]
    command += ["--window-size=2200,1400", "--virtual-time-budget=30000", "--dump-dom", url]
    done = subprocess.run(command, capture_output=True, encoding="utf-8", timeout=240, check=True)
    return re.sub(r"\s+", " ", re.sub(r"<[^>]*>", " ", done.stdout))
