"""The trials of a sweep as CSV, and in another order."""

import csv
import json
import re
from collections.abc import Callable

import pytest

from sweeps.search.study import Study
from sweeps.storage.trial_record import read_curve, read_result, read_spec
from sweeps.workers.propose import Proposer
from tests.sweeps.conftest import MakeSweep, worker_of

Call = Callable[..., str]
SPACE = ["training.optimizer", "training.batch_size", "training.learning_rate"]


def test_every_trial_is_a_row(make_sweep: MakeSweep, call: Call) -> None:
    sweep = make_sweep(trials=8)
    worker_of(sweep).run()
    header, *rows = csv.reader(call("export", "--csv").splitlines())
    fixed = ["number", "name", "state", "val/score", "best_epoch", "epochs", "seconds"]
    assert header == [*fixed, *SPACE]
    assert len(rows) == 8
    for paths, row in zip(sweep.paths.trials(), rows, strict=True):
        result, values, curve = read_result(paths), read_spec(paths).values, read_curve(paths)
        known = result.state != "diverged"
        assert row == [
            *(str(paths.number), paths.name, result.state.value),
            *((str(result.value), str(result.best_epoch)) if known else ("", "")),
            *(str(len(curve)), str(sum(epoch.seconds for epoch in curve))),
            *(str(values[path]) for path in SPACE),
        ]


def test_an_export_without_a_form_says_what_to_type(make_sweep: MakeSweep, call: Call) -> None:
    make_sweep()
    assert "--csv" in call("export", status=2)
    assert call("export", "--csv").count("\n") == 1  # a sweep without trials


def order(call: Call, column: str) -> list[dict]:
    return json.loads(call("status", "--sort", column, "--json"))["trials"]


def test_trials_are_sorted_by_any_column(make_sweep: MakeSweep, call: Call) -> None:
    sweep = make_sweep(trials=8)
    worker_of(sweep).run()
    by_value = [trial["value"] for trial in order(call, "best") if trial["value"] is not None]
    assert by_value == sorted(by_value, reverse=True)
    assert order(call, "val/score") == order(call, "best")
    for column in ("learning_rate", "training.learning_rate"):
        rates = [trial["values"]["training.learning_rate"] for trial in order(call, column)]
        assert rates == sorted(rates)
    states = [trial["state"] for trial in order(call, "state")]
    assert states == sorted(states)
    assert [trial["number"] for trial in order(call, "trial")] == list(range(8))
    table = call("status", "--sort", "learning_rate").partition("findings:")[0]
    shown = [
        int(found[1]) for line in table.splitlines() if (found := re.match(r"\W*(\d{4})\b", line))
    ]
    assert shown == [trial["number"] for trial in order(call, "learning_rate")]


def test_trials_without_a_value_come_last(make_sweep: MakeSweep, call: Call) -> None:
    sweep = make_sweep(trials=8, pruner="none")
    study = Study(sweep.paths, sweep.experiment, stale_after=5)
    assert Proposer(sweep, study, job="job", threads=1).propose() is not None
    worker_of(sweep, trials=3).run()
    assert [trial["value"] is None for trial in order(call, "trial")] == [True, *3 * [False]]
    assert [trial["value"] is None for trial in order(call, "best")] == [*3 * [False], True]


@pytest.mark.parametrize(
    ("column", "advice"),
    [
        ("learning_rat", "did you mean 'learning_rate'?"),
        ("", "the valid ones are batch_size, best"),
    ],
)
def test_an_unknown_column_is_refused(
    make_sweep: MakeSweep, call: Call, column: str, advice: str
) -> None:
    sweep = make_sweep(trials=1)
    worker_of(sweep).run()
    error = call("status", "--sort", column, status=2)
    assert error.startswith(f"error: sweep 'tiny' has no column {column!r}; {advice}")
