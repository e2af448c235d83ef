"""`sweeps show` has a trial's true values, and a wrong name says which trials there are."""

from collections.abc import Callable

import pytest

from sweeps import load_trial
from sweeps.errors import InputError
from sweeps.monitor.trial_report import read_trial_report
from sweeps.monitor.trial_view import MOST_EPOCHS, shown_epochs
from sweeps.monitor.watch import current_status
from sweeps.search.study import Study
from sweeps.storage.sweep import Sweep, stop_sweep
from sweeps.storage.trial_lookup import find_trial
from sweeps.storage.trial_record import read_curve, read_result, read_spec
from sweeps.workers.claims import claim_after
from sweeps.workers.propose import Proposer
from sweeps.workers.retry import Failure, FailureKind, record_failure
from tests.sweeps.conftest import MakeSweep, worker_of

Call = Callable[..., str]


def test_a_complete_trial(make_sweep: MakeSweep, call: Call) -> None:
    sweep = make_sweep(trials=3, epochs=7, pruner="none")
    worker_of(sweep).run()
    trial = sweep.paths.trials()[1]
    result, spec, curve = read_result(trial), read_spec(trial), read_curve(trial)
    assert result is not None
    out = call("show", "1")
    lines = out.splitlines()
    assert lines[0] == f"trial {trial.name} of sweep tiny: complete"
    assert lines[1].startswith(
        f"val/score {result.value:.4f} at epoch {result.best_epoch}; 7 of 7 epochs in "
    )
    for path, value in spec.values.items():
        assert f"  {path} = {value}" in lines
    for row in curve:
        assert f"{row.epoch}: {row.metrics['val/score']:.4f}" in out
    assert f"{result.best_epoch}: {result.value:.4f} ★" in out
    assert out.count("★") == 2  # the heading says what it means
    assert f"  checkpoint: {trial.attempt(1).best_checkpoint}" in lines
    assert f"  figure: {trial.attempt(1).figure}" in lines
    assert f"  config: {trial.config}" in lines
    assert max(map(len, out.partition("files")[0].splitlines())) <= 80


def test_attempts_say_where_and_how_each_ended(make_sweep: MakeSweep) -> None:
    sweep = make_sweep(trials=3)
    study = Study(sweep.paths, sweep.experiment, stale_after=5)
    claim = Proposer(sweep, study, job="first-job", threads=1).propose()
    assert claim is not None
    record_failure(claim.attempt, Failure(FailureKind.OUT_OF_MEMORY, "8 GiB asked for"))
    claim.release()
    for number in (1, 2):
        following = claim_after(claim.trial, number, "next-job")
        assert following is not None
        if number == 1:
            following.release()
    log = sweep.paths.job("next-job").worker_log(2)
    log.parent.mkdir(parents=True)
    log.write_text(f"trial {claim.trial.name}: a line\n")
    sweep.paths.job("next-job").worker_log(1).write_text("another trial\n")
    report = read_trial_report(sweep, claim.trial)
    assert [attempt.outcome for attempt in report.attempts] == [
        "out of memory: 8 GiB asked for",
        "released: another worker continues the trial",
        "running",
    ]
    assert [attempt.job for attempt in report.attempts] == ["first-job", "next-job", "next-job"]
    assert report.attempts[1].logs == (log,)
    assert (report.state, report.value, report.curve) == ("running", None, {})
    assert report.reason == "out of memory once, 2 accumulation steps"


def test_a_failed_trial_names_its_reason_and_its_traceback(
    make_sweep: MakeSweep, call: Call
) -> None:
    sweep = make_sweep(trials=1, bug="true")
    worker_of(sweep, trials=1).run()
    trial = sweep.paths.trials()[0]
    out = call("show", "0")
    assert out.startswith(f"trial {trial.name} of sweep tiny: failed\n")
    assert f"reason: {read_result(trial).reason}" in out
    assert f"  traceback: {trial.attempt(1).traceback}\n" in out
    assert "  checkpoint: none is kept\n" in out


def test_a_waiting_trial_of_a_stopped_sweep_is_stopped(make_sweep: MakeSweep) -> None:
    sweep = make_sweep(trials=3)
    study = Study(sweep.paths, sweep.experiment, stale_after=5)
    claim = Proposer(sweep, study, job="job", threads=1).propose()
    claim.release()
    assert read_trial_report(sweep, claim.trial).state == "waiting"
    stop_sweep(sweep.paths, "by hand")
    assert read_trial_report(sweep, claim.trial).state == "stopped"


def make_trials(sweep: Sweep, *names: str) -> None:
    for name in names:
        folder = sweep.paths.trials_folder / name
        folder.mkdir()
        (folder / "config.json").write_text("{}")


@pytest.mark.parametrize("wanted", ["7", "07", "0007", "0007-1a2b3c4d", "0007-", "0007-1a"])
def test_a_trial_has_several_names(make_sweep: MakeSweep, wanted: str) -> None:
    sweep = make_sweep()
    make_trials(sweep, "0000-aaaaaaaa", "0007-1a2b3c4d", "0070-1a2b3c4d")
    assert find_trial(sweep, wanted).name == "0007-1a2b3c4d"


def test_best_is_the_trial_that_the_table_marks(make_sweep: MakeSweep, call: Call) -> None:
    sweep = make_sweep(trials=4, pruner="none")
    with pytest.raises(InputError, match="has no best trial: none is complete yet"):
        find_trial(sweep, "best")
    worker_of(sweep).run()
    (marked,) = (trial for trial in current_status(sweep).trials if trial.is_best)
    assert find_trial(sweep, "best").name == marked.name
    assert load_trial("tiny", "best", sweep.paths.runs.folder).name == marked.name
    assert f"trial {marked.name} of sweep tiny" in call("show", "best")
    assert f"trial {marked.name} of sweep tiny" in call("show", "tiny:best")


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        ("9", "sweep 'tiny' has no trial '9'; the trials there are: 0 to 2, 7"),
        ("", "sweep 'tiny' has no trial ''; the trials there are: 0 to 2, 7"),
        ("9" * 5000, "the trials there are: 0 to 2, 7"),
        ("²", "sweep 'tiny' has no trial '²'; the trials there are: 0 to 2, 7"),
        ("0007-b", "sweep 'tiny' has no trial '0007-b'; the trials there are: 0 to 2, 7"),
    ],
)
def test_a_wrong_name_says_which_there_are(
    make_sweep: MakeSweep, call: Call, wanted: str, message: str
) -> None:
    sweep = make_sweep()
    make_trials(sweep, "0000-a", "0001-a", "0002-a", "0007-a")
    with pytest.raises(InputError) as error:
        find_trial(sweep, wanted)
    assert message in str(error.value)
    assert call("show", "--", wanted, status=2).count("\n") == 1


def test_an_ambiguous_beginning_lists_the_names(make_sweep: MakeSweep) -> None:
    sweep = make_sweep()
    make_trials(sweep, "0010-aa", "0010-ab", "0011-aa")
    with pytest.raises(InputError, match=r"several trials of sweep 'tiny': 0010-aa, 0010-ab$"):
        find_trial(sweep, "0010-a")


def test_a_sweep_without_trials(make_sweep: MakeSweep, call: Call) -> None:
    make_sweep()
    assert "the trials there are: none yet" in call("show", "0", "--sweep", "tiny", status=2)


def test_of_many_epochs_the_best_and_the_last_are_shown(make_sweep: MakeSweep) -> None:
    sweep = make_sweep(trials=1, epochs=200, pruner="none")
    worker_of(sweep).run()
    report = read_trial_report(sweep, sweep.paths.trials()[0])
    shown = shown_epochs(report)
    assert len(shown) <= MOST_EPOCHS + 2
    assert {1, report.best_epoch, report.epochs} <= set(shown) <= set(report.curve)
