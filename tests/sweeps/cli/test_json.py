"""What `--json` prints has the true values, and standard output has nothing else."""

import json
import math
from collections.abc import Callable
from pathlib import Path

import pytest

from sweeps.cli.json_output import print_json
from sweeps.storage.trial_record import State, read_curve, read_result, read_spec
from tests.sweeps.conftest import MakeSweep, worker_of

Call = Callable[..., str]


def test_status_and_show_have_the_values_of_the_folders(make_sweep: MakeSweep, call: Call) -> None:
    sweep = make_sweep(trials=8)
    worker_of(sweep).run()
    status = json.loads(call("status", "--json"))
    complete = [t for t in status["trials"] if t["state"] == "complete"]
    best = max(complete, key=lambda trial: trial["value"])
    assert (status["best"], status["value"]) == (best["number"], best["value"])
    assert (status["planned"], status["ended"], status["is_over"]) == (8, 8, True)
    for paths, trial in zip(sweep.paths.trials(), status["trials"], strict=True):
        result, spec = read_result(paths), read_spec(paths)
        assert result is not None
        is_known = result.state is not State.DIVERGED
        assert (trial["number"], trial["name"]) == (paths.number, paths.name)
        assert (trial["state"], trial["values"]) == (result.state.value, spec.values)
        assert trial["value"] == (result.value if is_known else None)
        shown = json.loads(call("show", str(paths.number), "--json"))
        assert shown["config"] == spec.config
        assert shown["curve"] == [
            {"epoch": row.epoch, "value": row.metrics["val/score"]} for row in read_curve(paths)
        ]
        assert shown["paths"]["folder"] == str(paths.folder)
        assert {key: shown[key] for key in trial if key in shown} == {
            key: value for key, value in trial.items() if key in shown
        }


def test_the_plan_has_the_proposals_of_its_lines(
    make_sweep: MakeSweep, write_experiment: Callable[..., Path], call: Call
) -> None:
    make_sweep(trials=3)
    experiment = str(write_experiment(trials=3))
    plan = json.loads(call("plan", experiment, "--cluster", "local", "--json"))
    lines = call("plan", experiment, "--cluster", "local")
    assert (plan["planned"], plan["left"], plan["epochs"]) == (3, 3, 27)
    assert [one["number"] for one in plan["proposals"]] == [0, 1, 2]
    for proposal in plan["proposals"]:
        assert f"batch_size {proposal['values']['training.batch_size']}" in lines
    assert (plan["seconds"], plan["jobs"], plan["script"]) == (None, None, "")


def test_an_error_leaves_standard_output_empty(call: Call) -> None:
    error = call("status", "--json", status=2)
    assert error.startswith("error: no sweep in ")
    assert error.count("\n") == 1


def test_numbers_that_json_does_not_have_are_null(capsys: pytest.CaptureFixture[str]) -> None:
    print_json({"a": math.nan, "b": [math.inf, 1.5], "c": Path("x"), "d": {1: (True, None)}})
    expected = {"a": None, "b": [None, 1.5], "c": "x", "d": {"1": [True, None]}}
    assert json.loads(capsys.readouterr().out) == expected
