"""What the commands say of a sweep in each state: finished, exhausted, stopped, without jobs."""

import re
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from sweeps.cli import main as cli
from sweeps.cli.next_trials import next_proposals, trials_left
from sweeps.cli.sweep_arguments import resume_command
from sweeps.monitor.lines import totals_line
from sweeps.monitor.summary import NextCommands, summarize
from sweeps.monitor.watch import current_status
from sweeps.search.study import Study
from sweeps.storage.sweep import STOPPED_BY_HAND, Sweep, clear_stop, stop_reason, stop_sweep
from sweeps.storage.trial_record import State, read_spec, state_of
from sweeps.workers.propose import Proposer
from tests.sweeps import tiny
from tests.sweeps.conftest import EXPERIMENT, MakeSweep, worker_of

Run = Callable[..., str]
FINITE = EXPERIMENT.partition('[space."')[0]
"""A space of six configurations."""
BATCHES = "".join(f'[[enqueue]]\n"training.batch_size" = {size}\n' for size in (4, 64))
ENQUEUED = FINITE.replace("[sampler]", '[sampler]\nkind = "enqueued"').replace(
    "[space]", f"{BATCHES}[space]"
)
"""Two configurations, and nothing else to try."""


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    monkeypatch.setenv("COLUMNS", "300")

    def call(*arguments: str, status: int = 0) -> str:
        capsys.readouterr()
        command = ["sweeps", *arguments, "--runs", str(tmp_path / "runs")]
        monkeypatch.setattr(sys, "argv", command)
        with pytest.raises(SystemExit) as end:
            cli.main()
        out, err = capsys.readouterr()
        assert int(end.value.code or 0) == status, err
        return out

    return call


@pytest.fixture
def again(run: Run, write_experiment: Callable[..., Path]) -> Callable[..., str]:
    """Run `plan` or `run` on the sweep's experiment with other settings."""

    def call(command: str, *options: str, **settings: object) -> str:
        path = write_experiment(**settings)
        return run(command, str(path), "--cluster", "local", *options)

    return call


def finished(make_sweep: MakeSweep, **settings: object) -> Sweep:
    sweep = make_sweep(epochs=2, pruner="none", **settings)
    worker_of(sweep).run()
    assert sweep.is_over()
    return sweep


def test_a_sweep_that_is_over_cannot_be_stopped(make_sweep: MakeSweep, run: Run) -> None:
    sweep = finished(make_sweep, trials=3)
    assert run("stop") == "sweep tiny is over: 3 of 3 trials; nothing to stop\n"
    assert stop_reason(sweep.paths) is None
    assert "stopped" not in run("status")


def test_a_stop_that_came_when_the_last_trial_ended_is_not_shown(
    make_sweep: MakeSweep, run: Run
) -> None:
    sweep = finished(make_sweep, trials=1)
    stop_sweep(sweep.paths, STOPPED_BY_HAND)
    assert "stopped" not in run("status")
    stop_sweep(sweep.paths, "3 trials failed with the same error: no memory")
    assert "stopped: 3 trials failed" in run("status")


def test_a_sweep_without_jobs_is_stopped_at_once_and_keeps_the_first_reason(
    make_sweep: MakeSweep, run: Run
) -> None:
    sweep = make_sweep(trials=3)
    output = run("stop")
    assert output.startswith("no job of the sweep is running\nno finished epoch is lost; resume")
    assert stop_reason(sweep.paths) == STOPPED_BY_HAND
    clear_stop(sweep.paths)
    stop_sweep(sweep.paths, "a full disk")
    assert run("stop").startswith("sweep tiny was stopped already: a full disk\n")
    assert stop_reason(sweep.paths) == "a full disk"


def test_the_totals_agree_with_the_rows_whether_running_waiting_or_stopped(
    make_sweep: MakeSweep, run: Run
) -> None:
    sweep = make_sweep(trials=3, pruner="none")
    worker_of(sweep, trials=1).run()
    study = Study(sweep.paths, sweep.experiment, stale_after=5)
    claim = Proposer(sweep, study, job="job", threads=1).propose()

    def totals() -> str:
        status = current_status(sweep)
        line = totals_line(status)
        assert {trial.state for trial in status.trials} <= set(re.split(r"\W+", line))
        return line

    assert totals().startswith("1 of 3 trials, 1 complete, 1 running, ")
    claim.release()
    assert totals().startswith("1 of 3 trials, 1 complete, 1 waiting, ")
    assert "no job is running, but trials are left; resume with:\n  " in run("status")
    stop_sweep(sweep.paths, STOPPED_BY_HAND)
    assert totals().startswith("1 of 3 trials, 1 complete, 1 stopped, ")
    assert all(trial.seconds_left is None for trial in current_status(sweep).trials)
    assert f"stopped: {STOPPED_BY_HAND}; resume with:\n  " in run("status")


def test_the_resume_command_is_never_broken_over_two_lines(
    make_sweep: MakeSweep, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    sweep = make_sweep(trials=3)
    stop_sweep(sweep.paths, "a long reason " * 10)
    monkeypatch.setenv("COLUMNS", "40")
    lines = run("status").splitlines()
    at = next(at for at, line in enumerate(lines) if line.endswith("; resume with:"))
    assert lines[at].startswith("stopped: a long")
    assert lines[at + 1] == f"  {resume_command(sweep)}"


def test_more_trials_than_asked_for_are_no_fraction(
    make_sweep: MakeSweep, again: Callable[..., str]
) -> None:
    finished(make_sweep, trials=4)
    settings = {"trials": 4, "epochs": 2, "pruner": "none"}
    output = again("run", "--trials", "2", **settings)
    assert "\n4 trials (2 asked for), 4 complete, " in output
    assert "submitted" not in output
    plan = again("plan", "--trials", "2", **settings)
    assert "the sweep is over: 4 trials (2 asked for); --trials sets a larger total" in plan
    assert "of 4" not in plan


@pytest.mark.parametrize(
    ("text", "trials", "left"),
    [(EXPERIMENT, 9, 9), (FINITE, 9, 6), (FINITE, 4, 4), (ENQUEUED, 9, 2), (ENQUEUED, 1, 1)],
)
def test_the_plan_counts_only_trials_that_there_will_be(
    again: Callable[..., str], tmp_path: Path, make_sweep: MakeSweep, text: str, trials: int,
    left: int,
) -> None:  # fmt: skip
    settings = {"text": text, "trials": trials, "epochs": 2, "pruner": "none"}
    fewer = "" if left == trials else rf" \(not {trials}: there is no more to try\)"
    noun = "trial" if left == 1 else "trials"
    expected = rf"\n{left} {noun} left{fewer}, at most 2 epochs each: {2 * left} epochs\n"
    assert re.search(expected, again("plan", **settings))
    assert not (tmp_path / "runs").exists()
    sweep = make_sweep(**settings)
    worker_of(sweep).run()
    assert len(sweep.paths.trials()) == left
    after = again("plan", **settings)
    assert f"the sweep is over: {left} of {trials} trial" in after
    assert "left" not in after
    assert ("no more trials: every" in after) == (left < trials)
    assert ("no more trials: every" in again("run", **settings)) == (left < trials)


def test_the_plan_names_trials_that_run_and_no_time_limit_on_this_machine(
    make_sweep: MakeSweep, again: Callable[..., str]
) -> None:
    settings = {"trials": 4, "epochs": 2, "pruner": "none"}
    sweep = make_sweep(**settings)
    worker_of(sweep, trials=1).run()
    plan = again("plan", **settings)
    assert "\n3 trials left, at most 2 epochs each" in plan
    assert "\n1 job on this machine\n" in plan
    claim = Proposer(
        sweep, Study(sweep.paths, sweep.experiment, stale_after=5), job="job", threads=1
    ).propose()
    assert "\n3 trials left, 1 of them running now, at most 2" in again("plan", **settings)
    claim.release()
    assert "running" not in again("plan", **settings)


@pytest.mark.parametrize("text", [EXPERIMENT, FINITE, ENQUEUED])
@pytest.mark.parametrize("before", [0, 1])
def test_the_plan_shows_the_trials_that_a_worker_then_makes(
    make_sweep: MakeSweep, text: str, before: int
) -> None:
    sweep = make_sweep(text=text, trials=6, epochs=1, pruner="none")
    worker_of(sweep, trials=before).run() if before else None
    files = {path: path.stat().st_mtime_ns for path in sweep.paths.folder.rglob("*")}
    (planned,) = next_proposals(sweep, 1)
    assert files == {path: path.stat().st_mtime_ns for path in sweep.paths.folder.rglob("*")}
    worker_of(sweep, trials=1).run()
    made = read_spec(sweep.paths.trials()[before])
    assert (made.number, made.values) == (planned.number, planned.values)


def test_the_plan_of_a_stopped_sweep_shows_the_failed_trials_that_are_tried_again(
    make_sweep: MakeSweep, monkeypatch: pytest.MonkeyPatch
) -> None:
    sweep = make_sweep(text=FINITE, trials=6, epochs=1, pruner="none")
    monkeypatch.setattr(tiny, "save", lambda *_: 1 / 0)
    worker_of(sweep, trials=2).run()
    monkeypatch.undo()
    failed = [read_spec(t).values for t in sweep.paths.trials() if state_of(t) is State.FAILED]
    assert len(failed) == 2
    assert trials_left(sweep) == 6
    assert [trial.values for trial in next_proposals(sweep, 2)] == failed


@pytest.mark.parametrize("metrics", [(), ("val/score",)])
def test_a_sweep_whose_model_cannot_be_promoted_is_not_told_to_promote_it(
    make_sweep: MakeSweep,
    again: Callable[..., str],
    monkeypatch: pytest.MonkeyPatch,
    metrics: tuple[str, ...],
) -> None:
    settings = {
        "trials": 2,
        "epochs": 2,
        "pruner": "none",
        "text": EXPERIMENT.replace('metric = "val/score"', 'metric = "val/loss"'),
    }
    finished(make_sweep, trials=2, text=settings["text"])
    assert "promote" not in again("run", **settings)
    monkeypatch.setattr(tiny.Tiny, "test_metrics", metrics)
    reason = (
        "val/loss is not measured on the test split; optimize val/score in a sweep with another "
        "name"
        if metrics
        else "trainer 'tests.sweeps.tiny:trainer' measures nothing on the test split"
    )
    assert f"\nno model of this sweep can be promoted: {reason}\n" in again("plan", **settings)


def test_the_summary_names_the_command_that_promotes_if_there_is_one(make_sweep: MakeSweep) -> None:
    sweep = finished(make_sweep, trials=1)
    status = current_status(sweep)
    for promote, models in (("make promote", None), (None, None), ("make promote", "make models")):
        commands = NextCommands("r", None, "c", promote, models, sync="s")
        text = "\n".join(summarize(status, sweep, commands).lines)
        assert ("\npromote the best model with:\n  make promote" in text) == (
            promote is not None and models is None
        )
        assert ("\nthe best model is promoted; see it with:\n  make models" in text) == (
            models is not None
        )
