"""Test scores that MLflow or the gate cannot take as they are: odd names, values, long texts."""

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from mlflow.tracking import MlflowClient

from sweeps.config.resolve import read_experiment
from sweeps.errors import InputError
from sweeps.promotion.entities import CHAMPION
from sweeps.promotion.scores import metric_on_test_split
from sweeps.storage.sweep import Sweep
from sweeps.tracking.sync import store_of_sweep
from tests.sweeps import tiny
from tests.sweeps.conftest import EXPERIMENT
from tests.sweeps.promotion.test_pipeline import champion, run_promotion


def change_scores(
    monkeypatch: pytest.MonkeyPatch, change: Callable[[tiny.Scored, Path], tiny.Scored]
) -> None:
    original = tiny.Tiny.evaluate

    def evaluate(self: tiny.Tiny, config: tiny.Config, package: Path, out: Path) -> tiny.Scored:
        return change(original(self, config, package, out), out)

    monkeypatch.setattr(tiny.Tiny, "evaluate", evaluate)


def test_odd_names_of_metrics_patients_and_files_and_long_texts_are_registered(
    searched: Sweep, monkeypatch: pytest.MonkeyPatch
) -> None:
    def odd(scored: tiny.Scored, out: Path) -> tiny.Scored:
        (out / "worst 10% #1.png").write_bytes(b"\x89PNG\r\n\x1a\n")
        patients = {f"Müller (#{n})@{n % 2}": of for n, of in enumerate(scored.patients.values())}
        many = {f"case {n}": dict(next(iter(patients.values()))) for n in range(1200)}
        scores = {**scored.scores, "test/IoU[0.5]%": 0.5, "test/nan": math.nan}
        return replace(scored, scores=scores, patients=patients | many)

    change_scores(monkeypatch, odd)
    monkeypatch.setenv("USER", "u" * 7000)
    outcome, _ = run_promotion(searched)
    assert (outcome.passed, outcome.version) == (True, 1)
    client = MlflowClient(tracking_uri=store_of_sweep(searched).uri)
    version = client.get_model_version_by_alias("tests-tiny", CHAMPION)
    run = client.get_run(version.run_id)
    assert run.data.metrics["test/IoU_0.5__"] == 0.5
    assert {"test/score/Müller __0__0", "test/score/case 1199"} <= run.data.metrics.keys()
    assert "test/IoU[0.5]% → test/IoU_0.5__" in run.data.tags["sweep.renamed"]
    assert len(version.description) == 5000
    assert len(version.tags["sweep.by"]) == 5000
    files = {artifact.path for artifact in client.list_artifacts(run.info.run_id, "evaluation")}
    assert "evaluation/worst 10% #1.png" in files


@pytest.mark.parametrize("bad", ["case_001", "the test split"])
@pytest.mark.parametrize("value", [math.nan, -math.inf])
def test_a_candidate_whose_score_is_not_a_finite_number_is_refused(
    searched: Sweep, monkeypatch: pytest.MonkeyPatch, bad: str, value: float
) -> None:
    def not_finite(scored: tiny.Scored, out: Path) -> tiny.Scored:
        patients: dict[str, Any] = {**scored.patients}
        if bad in patients:
            patients[bad] = {"test/score": value}
            return replace(scored, patients=patients)
        return replace(scored, scores={"test/score": value})

    change_scores(monkeypatch, not_finite)
    with pytest.raises(InputError, match=f"the candidate has no finite test/score of {bad}"):
        run_promotion(searched)
    assert champion(searched) is None


@pytest.mark.parametrize(
    ("metric", "on_test_split"),
    [("val/ssim", "test/ssim"), ("val/a/b", "test/a/b"), ("accuracy", "test/accuracy")],
)
def test_each_metric_has_a_name_on_the_test_split(metric: str, on_test_split: str) -> None:
    assert metric_on_test_split(metric) == on_test_split


@pytest.mark.parametrize(
    ("attribute", "value", "reason"),
    [
        ("bounds", {"val/acc@1": (0, 1)}, "'val/acc@1': MLflow does not accept @ in .*'val/acc_1'"),
        ("bounds", {"val/score": (0, 1), "": (0, 1)}, "metric '': it is empty"),
        ("bounds", {"../x": (0.0, 1.0)}, r"metric '../x': .* for example to '__/x'"),
        ("test_metrics", ("val/IoU[0.5:0.95]%",), r"does not accept \[ \] % in a name"),
        ("floors", {"test/" + "x" * 300: 0.5}, "floors: metric .*: MLflow accepts at most 250"),
    ],
)  # fmt: skip
def test_a_name_that_the_trainer_declares_and_mlflow_refuses_is_refused_before_training(
    attribute: str,
    value: object,
    reason: str,
    monkeypatch: pytest.MonkeyPatch,
    write_experiment: Callable[..., Path],
) -> None:
    monkeypatch.setattr(tiny.Tiny, attribute, value)
    with pytest.raises(InputError, match=f"{write_experiment().name}: trainer .*{reason}"):
        read_experiment(write_experiment())


def test_a_floor_that_the_file_names_and_mlflow_refuses_is_refused(
    write_experiment: Callable[..., Path],
) -> None:
    text = EXPERIMENT.replace("[pruner]", '[promotion]\nfloors."test/top@1" = 0.5\n[pruner]')
    with pytest.raises(InputError, match=r"\[promotion\] floors: metric 'test/top@1': MLflow"):
        read_experiment(write_experiment(text=text))
