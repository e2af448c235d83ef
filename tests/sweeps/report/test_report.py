"""The report of real sweeps: what it says, and that its numbers are those of the records."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sweeps.analysis.time_spent import time_spent
from sweeps.cli.compare import compare
from sweeps.config.experiment import Reference, Sampler
from sweeps.errors import InputError
from sweeps.report.answer import TestScores, answer_of
from sweeps.report.content import Report, report_of
from sweeps.report.curves import curve_charts
from sweeps.report.page import embedded_json, render_report
from sweeps.report.scatter import history
from sweeps.report.summary_figures import time_figure
from sweeps.report.trials import report_trials
from sweeps.storage.sweep import Sweep, open_sweep
from sweeps.storage.trial_record import State, read_snapshot
from tests.sweeps.analysis.records import complete, sweep_of
from tests.sweeps.conftest import EXPERIMENT, MakeSweep, worker_of

NAMES = st.sampled_from(["train/a", "val/a", "train/b", "val/b", "c", "d", "x/images_per_second"])


@pytest.fixture
def finished(make_sweep: MakeSweep) -> Sweep:
    sweep = make_sweep(trials=8, epochs=9)
    worker_of(sweep).run()
    return sweep


def embedded(page: str) -> dict:  # type: ignore[type-arg]
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', page, re.DOTALL)
    assert found is not None
    return json.loads(found[1])  # type: ignore[no-any-return]


def test_every_trial_is_in_the_page_with_its_own_numbers(finished: Sweep) -> None:
    data = embedded(render_report([finished]))
    snapshots = [read_snapshot(paths) for paths in finished.paths.trials()]
    for snapshot, trial, curve in zip(snapshots, data["trials"], data["curves"], strict=True):
        assert trial["name"] == snapshot.paths.name
        assert trial["state"] == snapshot.result.state.value
        assert curve["epochs"] == [row.epoch for row in snapshot.rows]
        recorded = [row.metrics["val/score"] for row in snapshot.rows]
        assert curve["metrics"]["val/score"] == pytest.approx(recorded, rel=1e-4)
        assert trial["value"] == pytest.approx(max(recorded), rel=1e-4)
    assert len(snapshots) == 8


def test_the_page_asks_for_nothing_from_outside(finished: Sweep) -> None:
    page = render_report([finished])
    own = re.sub(r"<script>.*?</script>", "", page, flags=re.DOTALL)
    targets = re.findall(r"""(?:src|href)="([^"]*)""", own)
    assert [target for target in targets if not target.startswith(("#", "data:"))] == []
    assert len(targets) >= 7
    assert "http" not in own


def test_the_answer_is_the_best_complete_trial(finished: Sweep) -> None:
    report = report_of([finished])
    answer = report.parts[0].answer
    values = {
        each.paths.name: each.result.value
        for each in map(read_snapshot, finished.paths.trials())
        if each.result is not None and each.result.state is State.COMPLETE
    }
    assert answer.trial == max(values, key=lambda name: values[name] or 0.0)
    assert answer.value == f"{values[answer.trial]:.4f}"
    assert set(answer.settings) == {"optimizer", "batch_size", "learning_rate"}


def test_a_sweep_without_a_complete_trial_has_a_report(make_sweep: MakeSweep) -> None:
    sweep = make_sweep()
    report = report_of([sweep])
    assert report.parts[0].answer.sentences == [
        "No trial is complete yet, so there is no best one."
    ]
    assert "This sweep has not ended" in render_report([sweep])


def test_the_default_values_are_compared_with_if_they_were_tried(make_sweep: MakeSweep) -> None:
    def sentence(sweep: Sweep) -> str:
        worker_of(sweep).run()
        sentences = report_of([sweep]).parts[0].answer.sentences
        return next(text for text in sentences if "default values" in text)

    tried = make_sweep(runs="tried", trials=8, pruner="none", text=EXPERIMENT + "[[enqueue]]\n")
    assert "better than trial 0000-" in sentence(tried)
    assert "No complete trial has the default values" in sentence(make_sweep(trials=2))
    elsewhere = EXPERIMENT.replace("[4, 16, 64]", "[4, 64]")
    outside = make_sweep(runs="outside", trials=2, text=elsewhere)
    assert "are not in the search space" in sentence(outside)


@pytest.mark.parametrize(
    ("reference", "expected"),
    [
        (Reference(value=0.5, source="A 2020"), "here it is 0.7500, a difference of +0.2500"),
        (Reference(value=0.5, source="A", metric="test/score"), "here it is 0.6000"),
        (Reference(value=0.5, source="A", metric="test/other"), "has no test/other yet"),
    ],
)
def test_a_published_figure_is_compared_with_what_it_names(
    reference: Reference, expected: str
) -> None:
    scores = TestScores({"test/score": 0.6}, {"test/score": (0.5, 0.7)}, 4)
    answer = answer_of(sweep_of(complete(0, 0.75)), None, reference, scores)
    assert expected in answer.sentences[-1]
    assert "(95 % interval over 4 patients: 0.5000 to 0.7000)" in " ".join(answer.sentences)


def test_the_hours_of_the_figure_add_up_to_those_of_the_workers(finished: Sweep) -> None:
    spent = time_spent([read_snapshot(paths) for paths in finished.paths.trials()])
    figure = time_figure({"tiny": spent})
    assert sum(float(row[2] or 0) for row in figure.rows) * 3600 == pytest.approx(
        spent.of_workers, rel=1e-3, abs=1e-3
    )


@given(
    recorded=st.lists(NAMES, unique=True),
    named=st.dictionaries(st.sampled_from(["A", "B", "a"]), st.lists(NAMES, unique=True)),
)
def test_each_metric_but_speeds_has_a_chart(
    recorded: Sequence[str], named: Mapping[str, Sequence[str]]
) -> None:
    charts = curve_charts(named, recorded, recorded[-1:])
    shown = [metric for chart in charts for metric in chart.metrics]
    assert set(shown) == {name for name in recorded if not name.endswith("_per_second")}
    assert all(set(chart.metrics) <= set(recorded) and chart.metrics for chart in charts)
    if shown and recorded[-1] in shown:
        assert recorded[-1] in charts[0].metrics


@given(st.recursive(st.text() | st.floats(allow_nan=False, allow_infinity=False), st.lists))
def test_numbers_and_texts_of_any_kind_stay_inside_their_element(content: object) -> None:
    text = embedded_json(content)
    assert json.loads(text) == content
    assert not set("<>&") & set(text)


def test_text_of_others_is_no_markup(make_sweep: MakeSweep) -> None:
    sweep = make_sweep(trials=1, bug="true")
    worker_of(sweep).run()
    plan = json.loads(sweep.paths.plan.read_text(encoding="utf-8"))
    plan["fingerprint"] = "</script><img src=x onerror=alert(1)>"
    sweep.paths.plan.write_text(json.dumps(plan), encoding="utf-8")
    page = render_report([open_sweep(sweep.paths)])
    assert "<img src=x" not in page
    assert "&lt;img src=x" in page


def test_several_sweeps_are_told_apart(make_sweep: MakeSweep, finished: Sweep) -> None:
    other = make_sweep(name="other", trials=3, pruner="none")
    worker_of(other).run()
    report: Report = report_of([finished, other])
    assert [part.name for part in report.parts] == ["tiny", "other"]
    assert {trial.group for trial in report.trials} == {"tiny", "other"}
    assert len({trial.label for trial in report.trials}) == 11
    assert {label.partition(":")[0] for label in report.selected} == {"tiny", "other"}


def test_sweeps_with_different_objectives_are_not_compared(
    make_sweep: MakeSweep, finished: Sweep
) -> None:
    text = EXPERIMENT.replace('metric = "val/score"', 'metric = "val/loss"')
    other = make_sweep(name="other", trials=1, text=text)
    with pytest.raises(InputError, match=r"other optimizes val/loss \(minimize\) and tiny"):
        report_of([finished, other])


def test_one_sweep_is_not_a_comparison(finished: Sweep, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="name two or more different sweeps to compare"):
        compare(["tiny", "tiny"], runs=finished.paths.runs.folder)


@pytest.mark.parametrize("kind", get_args(Sampler.model_fields["kind"].annotation))
def test_every_sampler_has_its_words(make_sweep: MakeSweep, kind: str) -> None:
    sweep = make_sweep(trials=2)
    experiment = sweep.experiment.model_copy(update={"sampler": Sampler(kind=kind)})
    planned = replace(sweep, plan=replace(sweep.plan, experiment=experiment))
    assert "Trials were chosen by " in report_of([planned]).parts[0].methods


def test_an_open_trial_whose_objective_is_not_a_number_has_no_value(finished: Sweep) -> None:
    snapshot = read_snapshot(finished.paths.trials()[0])
    rows = [replace(row, metrics={"val/score": float("nan")}) for row in snapshot.rows]
    broken = replace(snapshot, result=None, rows=rows)
    (trial,) = report_trials(finished, [broken], several=False)
    assert (trial.value, trial.best_epoch) == (None, None)
    assert history([trial], finished.experiment.objective).rows == []


def test_values_keep_the_digits_that_order_them(finished: Sweep) -> None:
    data = embedded(render_report([finished]))
    for paths, trial in zip(finished.paths.trials(), data["trials"], strict=True):
        result = read_snapshot(paths).result
        if result is not None and result.state is State.COMPLETE:
            assert trial["value"] == result.value


def test_a_metric_of_later_epochs_has_a_chart(finished: Sweep) -> None:
    paths = finished.paths.trials()[0]
    metrics = paths.attempts()[-1].metrics
    lines = metrics.read_text(encoding="utf-8").splitlines()
    rows = [json.loads(line) for line in lines]
    rows[-1]["metrics"]["val/rare"] = 0.5
    metrics.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    assert "rare" in [chart.title for chart in report_of([finished]).charts]


def test_comparisons_of_other_sweeps_have_other_files(finished: Sweep) -> None:
    runs = finished.paths.runs
    assert runs.comparison(["a-b", "c"]) != runs.comparison(["a", "b-c"])
