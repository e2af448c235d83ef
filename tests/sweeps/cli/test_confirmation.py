"""What the commands say of a sweep that has a confirmation, and of the confirmation."""

import json
from types import SimpleNamespace

import pytest

from sweeps.cli.completions import trial_names
from sweeps.monitor.lines import state_lines
from sweeps.monitor.summary import NextCommands, summarize
from sweeps.monitor.watch import current_status
from sweeps.promotion.confirm import best_trials, confirm
from sweeps.storage.sweep import Sweep, open_sweep, stop_reason
from tests.sweeps.cli.test_main import Run, run
from tests.sweeps.conftest import MakeSweep, worker_of

__all__ = ["run"]  # the fixture


@pytest.fixture
def begun(make_sweep: MakeSweep) -> Sweep:
    """A search that is over, with a confirmation of which one training is done."""
    sweep = make_sweep(trials=6, pruner="none")
    worker_of(sweep).run()
    confirmation = confirm(
        sweep, best_trials(sweep)[:1], sweep.plan.cluster, ("promote", sweep.paths.name)
    )
    worker_of(confirmation, trials=1).run()
    assert confirmation.progress().ended == 1
    return sweep


def test_the_latest_sweep_is_never_a_confirmation(begun: Sweep, run: Run) -> None:
    runs = begun.paths.runs.folder
    context = SimpleNamespace(params={"runs": runs})
    assert trial_names(context, "") == [*(trial.name for trial in begun.paths.trials()), "best"]
    status, out, _ = run("status", "--runs", str(runs))
    assert (status, out.split()[:2]) == (0, ["sweep", "tiny"])
    lines = out.splitlines()
    at = next(n for n, line in enumerate(lines) if line.startswith("confirmation "))
    line, command = lines[at : at + 2]
    assert line.startswith("confirmation tiny-confirm: interrupted, 1 of 3 trainings done")
    assert " status tiny-confirm --runs " in command
    assert json.loads(run("status", "--runs", str(runs), "--json")[1])["sweep"] == "tiny"


@pytest.mark.parametrize("name", [[], ["tiny"], ["tiny-confirm"]])
def test_stop_ends_the_confirmation_of_a_sweep_that_is_over(
    begun: Sweep, run: Run, name: list[str]
) -> None:
    status, out, _ = run("stop", *name, "--runs", str(begun.paths.runs.folder))
    assert status == 0
    assert stop_reason(begun.paths) is None
    assert stop_reason(begun.paths.confirmation) is not None
    assert ("stopping the confirmation of tiny: tiny-confirm" in out) == (name != ["tiny-confirm"])
    out = run("status", "--runs", str(begun.paths.runs.folder))[1]
    assert "confirmation tiny-confirm: stopped, 1 of 3 trainings done" in out


def test_stop_of_a_sweep_whose_confirmation_is_over_has_nothing_to_stop(
    begun: Sweep, run: Run
) -> None:
    worker_of(open_sweep(begun.paths.confirmation)).run()
    out = run("stop", "--runs", str(begun.paths.runs.folder))[1]
    assert "sweep tiny is over" in out
    assert "confirmation" not in out
    out = run("status", "--runs", str(begun.paths.runs.folder))[1]
    assert "confirmation tiny-confirm: complete, 3 of 3 trainings done" in out


def test_watch_without_a_name_shows_the_confirmation_while_it_is_not_over(
    begun: Sweep, run: Run
) -> None:
    runs = str(begun.paths.runs.folder)
    assert "again with the seeds 1, 2, 3: 1 of 3 done" in run("watch", "--runs", runs)[1]
    assert "again with the seeds" not in run("watch", "tiny", "--runs", runs)[1]


def test_a_confirmation_says_what_is_trained_again_and_not_which_seed_is_best(
    begun: Sweep,
) -> None:
    (trial, *_) = best_trials(begun)
    confirmation = open_sweep(begun.paths.confirmation)
    status = current_status(confirmation)
    assert not any(each.is_best for each in status.trials)
    lines = state_lines(status)
    assert f"trial {trial.name} of tiny, trained again with the seeds 1, 2, 3: 1 of 3 done" in lines
    assert not any(line.startswith("best ") for line in lines)
    assert status.time_left is not None  # from the first training on: nothing is pruned
    worker_of(confirmation).run()
    summary = summarize(
        current_status(confirmation),
        confirmation,
        NextCommands("RESUME", None, "COMPARE", None, None, "SYNC"),
    )
    assert summary.ended_well
    assert summary.lines[-1] == "continue the promotion with:\n  RESUME"
    assert not any("best" in line for line in summary.lines)
