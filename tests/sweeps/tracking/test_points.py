"""Metrics and parameters that MLflow does not accept as they are cost nothing else."""

import math
from collections.abc import Callable, Mapping

import pytest
from mlflow.entities import Metric
from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient

from sweeps.config.mlflow_names import metric_names
from sweeps.storage.sweep import Sweep
from sweeps.tracking.points import (
    MAX_PARAM_CHARACTERS,
    clip,
    log_params,
    log_points,
    points_of_rows,
)
from sweeps.tracking.sync import publish_once
from sweeps.trainer import FinishedEpoch
from tests.sweeps import tiny
from tests.sweeps.conftest import MakeSweep, worker_of
from tests.sweeps.tracking.test_publisher import client_of, runs_by_name

ODD = {
    "val/acc@1": 0.25,
    "val/acc_1": 0.5,
    "val/acc#1": 0.75,
    "val/IoU[0.5:0.95]%": 40.0,
    "../up": 1.0,
    "": 2.0,
    "long/" + "x" * 300: 3.0,
    "objective": 4.0,
    "val/nan": math.nan,
    "val/inf": math.inf,
}


@pytest.fixture
def published(
    make_sweep: MakeSweep, give_store: Callable[[Sweep], None], monkeypatch: pytest.MonkeyPatch
) -> Sweep:
    """A sweep whose trainer gives each epoch more metrics, with odd names."""
    original = tiny.Row

    def row(epoch: int, metrics: Mapping[str, float], *rest: object) -> tiny.Row:
        return original(epoch, {**metrics, **ODD}, *rest)

    monkeypatch.setattr(tiny, "Row", row)
    sweep = make_sweep(trials=1, epochs=2)
    give_store(sweep)
    worker_of(sweep).run()
    assert publish_once(sweep) is None
    return sweep


def test_metrics_with_odd_names_are_published_each_under_a_name_of_its_own(
    published: Sweep,
) -> None:
    (trial,) = published.paths.trials()
    run = runs_by_name(published.paths.runs.folder)[trial.name]
    found = run.data.metrics
    assert run.info.status == "FINISHED"
    assert found["val/acc_1"] == 0.5
    assert found["val/IoU_0.5:0.95__"] == 40.0
    assert found["__/up"] == 1.0
    assert found["unnamed"] == 2.0
    assert sorted(v for k, v in found.items() if k.startswith("val/acc_1")) == [0.25, 0.5, 0.75]
    assert found["objective"] == found["val/score"]
    assert [v for k, v in found.items() if k.startswith("objective-")] == [4.0]
    assert [v for k, v in found.items() if k.startswith("long/")] == [3.0]
    assert math.isnan(found["val/nan"])
    assert found["val/inf"] > 1e300
    history = client_of(published.paths.runs.folder).get_metric_history(
        run.info.run_id, "val/IoU_0.5:0.95__"
    )
    assert [point.step for point in history] == [1, 2]


def test_the_run_shows_which_names_were_changed(published: Sweep) -> None:
    (trial,) = published.paths.trials()
    shown = runs_by_name(published.paths.runs.folder)[trial.name].data.tags["sweep.renamed"]
    assert "val/IoU[0.5:0.95]% → val/IoU_0.5:0.95__, " in shown
    assert "val/score" not in shown


@pytest.fixture
def client_and_run(published: Sweep) -> tuple[MlflowClient, str]:
    client = client_of(published.paths.runs.folder)
    experiment = client.get_experiment_by_name("tiny").experiment_id
    return client, client.create_run(experiment).info.run_id


def test_a_metric_that_the_store_refuses_costs_no_other_one(
    client_and_run: tuple[MlflowClient, str],
) -> None:
    client, run = client_and_run
    points = [Metric(name, 0.5, 0, step) for step in (1, 2) for name in ("a", "b@", "c")]
    (problem,) = log_points(client, run, points)
    assert problem.startswith("MLflow refuses the metric 'b@': ")
    assert set(client.get_run(run).data.metrics) == {"a", "c"}
    assert [point.step for point in client.get_metric_history(run, "c")] == [1, 2]


def test_a_run_that_accepts_nothing_is_an_error(client_and_run: tuple[MlflowClient, str]) -> None:
    client, run = client_and_run
    client.delete_run(run)
    with pytest.raises(MlflowException, match="active"):
        log_points(client, run, [Metric("a", 0.5, 0, 1), Metric("b", 0.5, 0, 1)])


def test_hundreds_of_parameters_with_odd_names_and_long_values_are_published(
    client_and_run: tuple[MlflowClient, str],
) -> None:
    client, run = client_and_run
    settings = {f"weights.organ {n} (left)": n for n in range(250)} | {"text": "é" * 9000}
    for _ in range(2):  # a second time changes nothing
        log_params(client, run, settings)
    params = client.get_run(run).data.params
    assert len(params) == 251
    assert params["weights.organ 7 _left_"] == "7"
    assert len(params["text"]) == MAX_PARAM_CHARACTERS
    assert clip("short", 5) == "short"


def test_what_is_not_a_number_is_left_out() -> None:
    given = {"text": "high", "none": None, "huge": 10**400, "yes": True, "one": 1}
    row = FinishedEpoch(1, given, 5, 0.0)  # type: ignore[arg-type]
    points = points_of_rows([row], metric_names([given]))
    assert {point.key: point.value for point in points} == {"yes": 1.0, "one": 1.0}
