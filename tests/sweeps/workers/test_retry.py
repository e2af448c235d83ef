"""Trials that are out of memory, lose their process, hang or kill workers, in real jobs."""

import errno
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace

import pytest

from sweeps.config.cluster import Cluster
from sweeps.jobs.watchdog import Watchdog, record_death
from sweeps.monitor.sweep_status import sweep_status
from sweeps.storage.paths import TrialPaths
from sweeps.storage.sweep import Sweep, stop_reason
from sweeps.storage.trial_record import (
    State,
    append_row,
    claim_owner,
    read_curve,
    read_result,
    read_spec,
    state_of,
)
from sweeps.tracking.sync import publish_once
from sweeps.trainer import FinishedEpoch
from sweeps.workers.claims import claim_after
from sweeps.workers.device_access import DeviceAccess
from sweeps.workers.exit_codes import ExitCode, WorkerDeath
from sweeps.workers.retry import (
    MAX_WORKER_DEATHS,
    Failure,
    FailureKind,
    RetryPlan,
    describe_failures,
    failures_of,
    record_failure,
    result_after_failures,
    retry_plan_of,
)
from tests.sweeps.conftest import EXPERIMENT, MakeSweep, worker_of
from tests.sweeps.tracking.test_publisher import runs_by_name
from tests.sweeps.workers.test_crashes import outcome
from tests.sweeps.workers.test_worker import wait_for


def with_training(*lines: str) -> str:
    return EXPERIMENT.replace("[trial.training]", "\n".join(["[trial.training]", *lines]))


def run_job(sweep: Sweep) -> str:
    """Run a job until its workers are done; return what its supervisor printed."""
    done = subprocess.run(job_command(sweep), capture_output=True, text=True, timeout=150)
    assert done.returncode == 0, done.stderr
    return done.stdout


def job_command(sweep: Sweep) -> list[str]:
    sweep.paths.job("by-hand").folder.mkdir(parents=True, exist_ok=True)
    script = (
        "import sys; from pathlib import Path; from sweeps.jobs.launcher import SupervisorTask\n"
        "SupervisorTask(Path(sys.argv[1]), 'by-hand', None)()"
    )
    return [sys.executable, "-c", script, str(sweep.paths.folder)]


def batch(trial: TrialPaths) -> int:
    return read_spec(trial).config["training"]["batch_size"]


def two_workers(**settings: object) -> Cluster:
    return Cluster(workers=2, **settings)


def test_a_trial_out_of_memory_gets_exclusive_use_and_then_accumulation_steps(
    make_sweep: MakeSweep, give_store: Callable[[Sweep], None]
) -> None:
    """The device holds 19 images: of a batch of 64, one micro-batch of 16, with exclusive use."""
    sweep = make_sweep(
        trials=6, pruner="none", cluster=two_workers(), text=with_training("memory = 19")
    )
    give_store(sweep)
    output = run_job(sweep)
    assert "one worker will get exclusive use of the device" in output
    assert sweep.is_over()
    assert {state_of(trial) for trial in sweep.paths.trials()} == {State.COMPLETE}
    large = [trial for trial in sweep.paths.trials() if batch(trial) == 64]
    for trial in large:
        assert retry_plan_of(trial) == RetryPlan(exclusive=True, accumulation_steps=4)
        steps = [failure.accumulation_steps for failure in failures_of(trial) if failure.exclusive]
        assert steps == [1, 2]  # the last attempt had exclusive use: otherwise it would not fit
    for trial in set(sweep.paths.trials()) - set(large):
        assert retry_plan_of(trial).accumulation_steps == 1
        assert not any(failure.exclusive for failure in failures_of(trial))
    assert large
    assert publish_once(sweep) is None
    tags = runs_by_name(sweep.paths.runs.folder)[large[0].name].data.tags
    assert tags["sweep.accumulation_steps"] == "4"
    assert "out of memory" in tags["sweep.failures"]
    whole = make_sweep("whole", trials=6, pruner="none")
    worker_of(whole).run()
    by_signature = {t.signature: read_curve(t)[-1].metrics for t in whole.paths.trials()}
    for trial in sweep.paths.trials()[:2]:
        if trial.signature in by_signature:
            assert read_curve(trial)[-1].metrics == by_signature[trial.signature]


def test_a_job_of_one_worker_uses_accumulation_steps_at_once(
    make_sweep: MakeSweep,
) -> None:
    text = with_training("memory = 19", "image = 10")  # one image fits, two do not
    text = text.replace("[4, 16, 64]", "[4, 2]")
    sweep = make_sweep(trials=2, pruner="none", cluster=Cluster(workers=1), text=text)
    output = run_job(sweep)
    assert "exclusive use of the device" not in output
    assert "ended with status 11" in output
    for trial in sweep.paths.trials():
        assert state_of(trial) is State.COMPLETE
        assert retry_plan_of(trial).accumulation_steps == batch(trial)
        steps = [2**power for power in range(batch(trial).bit_length() - 1)]
        assert [failure.accumulation_steps for failure in failures_of(trial)] == steps


def test_a_trial_that_does_not_fit_with_one_image_has_diverged(make_sweep: MakeSweep) -> None:
    text = with_training("memory = 19", "image = 20").replace("[4, 16, 64]", "[4, 16]")
    sweep = make_sweep(trials=1, text=text)
    worker = worker_of(sweep)
    while (code := worker.run()) is not ExitCode.DONE:
        assert code is ExitCode.OUT_OF_MEMORY
        trial = sweep.paths.trials()[0]
        assert trial.attempts()[-1].released.exists()
    result = read_result(trial)
    assert (result.state, result.value) == (State.DIVERGED, -1.0)
    tried = "with exclusive use of the device and the smallest micro-batches"
    assert f"out of memory {tried}: DeviceFullError: 20 of 19 requested" in result.reason
    assert worker.study.trial(0).value == -1.0


def test_only_a_worker_with_exclusive_use_continues_a_trial_out_of_memory(
    make_sweep: MakeSweep,
) -> None:
    sweep = make_sweep(trials=1, pruner="none", text=with_training("memory = 3"))
    sharing = worker_of(sweep, access=DeviceAccess.SHARED)
    assert sharing.run() is ExitCode.OUT_OF_MEMORY
    trial = sweep.paths.trials()[0]
    assert [failure.exclusive for failure in failures_of(trial)] == [False]
    trial.attempts()[-1].claim.write_text(  # its process has ended, as a worker's would have
        re.sub('"pid": .*', '"pid": 1,', trial.attempts()[-1].claim.read_text())
    )
    assert sharing.run() is ExitCode.OUT_OF_MEMORY
    assert len(trial.attempts()) == 1
    (status,) = sweep_status(sweep, None).trials
    assert (status.state, status.reason) == ("waiting", "out of memory once")
    assert worker_of(sweep, access=DeviceAccess.EXCLUSIVE).run() is ExitCode.OUT_OF_MEMORY
    assert retry_plan_of(trial) == RetryPlan(exclusive=True, accumulation_steps=2)


def test_the_retry_plan_survives_a_kill(make_sweep: MakeSweep) -> None:
    whole = make_sweep("whole", trials=1, pruner="none")
    worker_of(whole).run()
    sweep = make_sweep(trials=1, pruner="none")
    claim = worker_of(sweep)._next_claim()
    record_failure(claim.attempt, Failure(FailureKind.OUT_OF_MEMORY, "none left", exclusive=False))
    claim.release()
    killed = claim_after(claim.trial, 1, "killed")  # claimed, and killed before it did anything
    killed.release()
    assert retry_plan_of(claim.trial) == RetryPlan(exclusive=True, accumulation_steps=1)
    worker_of(sweep).run()
    assert outcome(sweep) == outcome(whole)
    assert describe_failures(claim.trial) == "out of memory once"


def test_a_trial_with_three_lost_processes_fails_and_one_with_two_continues(
    make_sweep: MakeSweep,
) -> None:
    whole = make_sweep("whole", trials=2, pruner="none")
    worker_of(whole).run()
    twice = make_sweep(
        trials=2, pruner="none", cluster=two_workers(), text=with_training("poison = 2")
    )
    assert run_job(twice).count("ended with status 12") == 4
    assert sorted(map(str, outcome(twice))) == sorted(map(str, outcome(whole)))
    for trial in twice.paths.trials():
        assert len((trial.folder / "computed.log").read_text().split()) == 9  # no epoch twice

    sweep = make_sweep("three", trials=3, text=with_training("poison = 3"), pruner="none")
    worker = worker_of(sweep)
    codes = [worker.run() for _ in range(3)]
    assert codes == [ExitCode.PROCESS_LOST] * 3
    trial = sweep.paths.trials()[0]
    assert state_of(trial) is State.RUNNING
    assert worker_of(sweep, trials=1).run() is ExitCode.DONE
    result = read_result(trial)
    assert result.state is State.FAILED
    assert "process lost 3 times: DeviceLostError: device-side assert" in result.reason
    assert result.failure_key.startswith("DeviceLostError in inject_failure, tiny.py:")
    assert "Traceback" in trial.attempt(3).traceback.read_text()
    for _ in range(9):
        worker.run()
    assert "3 trials failed with the same error" in stop_reason(sweep.paths)


@pytest.mark.parametrize("steps", [1, 2, 4])
def test_the_retry_plan_follows_from_the_recorded_failures(
    make_sweep: MakeSweep, steps: int
) -> None:
    sweep = make_sweep(trials=1)
    claim = worker_of(sweep)._next_claim()
    assert retry_plan_of(claim.trial) == RetryPlan(exclusive=False, accumulation_steps=1)
    record_failure(
        claim.attempt,
        Failure(FailureKind.OUT_OF_MEMORY, "none left", accumulation_steps=steps, exclusive=True),
    )
    assert retry_plan_of(claim.trial) == RetryPlan(exclusive=True, accumulation_steps=2 * steps)
    assert result_after_failures(claim.trial, 2 * steps, -1.0) is None
    assert result_after_failures(claim.trial, steps, -1.0).state is State.DIVERGED


def test_a_worker_that_hangs_is_killed_and_the_next_continues(make_sweep: MakeSweep) -> None:
    whole = make_sweep("whole", trials=2, pruner="none")
    worker_of(whole).run()
    text = with_training("hang = 1")
    cluster = two_workers(hang_seconds=10)
    sweep = make_sweep(trials=2, pruner="none", cluster=cluster, text=text)
    output = run_job(sweep)
    assert output.count("was killed: no epoch ended for 1") == 2
    assert "ended with status -9" not in output
    assert sorted(map(str, outcome(sweep))) == sorted(map(str, outcome(whole)))
    for trial in sweep.paths.trials():
        assert describe_failures(trial) == "worker hung once"
        assert len((trial.folder / "computed.log").read_text().split()) == 9


def test_a_trial_that_hangs_for_the_third_time_fails(make_sweep: MakeSweep) -> None:
    cluster = Cluster(workers=1, hang_seconds=5)
    sweep = make_sweep(trials=1, pruner="none", cluster=cluster, text=with_training("hang = 1"))
    claim = worker_of(sweep)._next_claim()
    for number in (2, 3):
        record_failure(claim.attempt, Failure(FailureKind.HUNG, "no epoch ended", key="hung"))
        claim.release()
        claim = claim_after(claim.trial, number - 1, "by-hand")
    claim.release()
    process = subprocess.Popen(job_command(sweep))
    try:
        wait_for(claim.trial.settled.exists)
    finally:
        process.terminate()
        process.wait()
    result = read_result(claim.trial)
    assert result.state is State.FAILED
    assert re.match(r"worker hung 3 times: no epoch ended for \d+ s", result.reason)


def test_workers_that_are_killed_are_replaced_and_their_trials_continue(
    make_sweep: MakeSweep,
) -> None:
    whole = make_sweep("whole", trials=2, pruner="none", seconds=0.1)
    worker_of(whole).run()
    text = with_training("deadly = 2")
    sweep = make_sweep(trials=2, pruner="none", seconds=0.1, cluster=two_workers(), text=text)
    assert run_job(sweep).count("ended with status -9") == 2
    assert sorted(map(str, outcome(sweep))) == sorted(map(str, outcome(whole)))
    # The first of the two deaths is not recorded: that worker had finished two epochs.
    assert [describe_failures(t) for t in sweep.paths.trials()] == ["worker died once", ""]


def test_a_trial_that_kills_worker_after_worker_fails_and_the_job_continues(
    make_sweep: MakeSweep,
) -> None:
    """In a job with one worker: its slot is kept, though six workers die in it."""
    text = with_training("deadly = 6")
    sweep = make_sweep(trials=1, pruner="none", cluster=Cluster(workers=1), text=text)
    assert run_job(sweep).count("ended with status -9") == 6
    first, second = (read_result(trial) for trial in sweep.paths.trials())
    assert (first.state, first.epochs) == (State.FAILED, 2)
    assert first.reason.startswith("worker died 5 times: signal 9 (Killed) before an epoch was")
    assert second.state is State.COMPLETE


def test_only_deaths_since_the_last_epoch_count(make_sweep: MakeSweep) -> None:
    sweep = make_sweep(trials=1)
    claim = worker_of(sweep)._next_claim()
    append_row(claim.attempt, FinishedEpoch(1, {"val/score": 0.5}, 0, 0.0, None))
    record_failure(claim.attempt, Failure(FailureKind.WORKER_DIED, "killed", key="killed"))
    for number in range(1, MAX_WORKER_DEATHS + 1):
        claim = claim_after(claim.trial, number, "by-hand")
        assert result_after_failures(claim.trial, 99, -1.0) is None
        record_failure(claim.attempt, Failure(FailureKind.WORKER_DIED, "killed", key="killed"))
    assert result_after_failures(claim.trial, 99, -1.0).reason == "worker died 5 times: killed"
    append_row(claim.attempt, FinishedEpoch(2, {"val/score": 0.5}, 0, 0.0, None))
    assert result_after_failures(claim.trial, 99, -1.0) is None


def test_a_trial_whose_figure_kills_workers_is_still_complete(make_sweep: MakeSweep) -> None:
    text = with_training("deadly_figure = true")
    sweep = make_sweep(trials=1, pruner="none", cluster=Cluster(workers=1), text=text)
    assert run_job(sweep).count("ended with status -9") == 2
    assert state_of(sweep.paths.trials()[0]) is State.COMPLETE


def test_a_worker_death_that_cannot_be_recorded_does_not_end_the_supervisor(
    make_sweep: MakeSweep, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.ENOSPC, "full")

    sweep = make_sweep(trials=1)
    claim = worker_of(sweep)._next_claim()
    monkeypatch.setattr("sweeps.jobs.watchdog.record_failure", refuse)
    assert record_death(sweep, WorkerDeath(claim_owner(claim.attempt), 9)) is False
    monkeypatch.undo()
    assert (
        record_death(sweep, WorkerDeath(replace(claim_owner(claim.attempt), started="1"), 9))
        is False
    )
    assert record_death(sweep, WorkerDeath(claim_owner(claim.attempt), 9)) is True
    assert describe_failures(claim.trial) == "worker died once"


def test_how_long_an_epoch_may_take_follows_from_earlier_epochs(
    make_sweep: MakeSweep, monkeypatch: pytest.MonkeyPatch
) -> None:
    sweep = make_sweep(trials=1)
    watchdog = Watchdog(sweep)
    assert watchdog._is_too_long(6.1 * 3600)
    assert not watchdog._is_too_long(5.9 * 3600)
    worker_of(sweep).run()
    assert watchdog._is_too_long(1801)
    assert not watchdog._is_too_long(1799)
    rows = [replace(row, seconds=400.0) for row in read_curve(sweep.paths.trials()[0])]
    monkeypatch.setattr("sweeps.jobs.watchdog.read_curve", lambda trial: rows)
    assert watchdog._is_too_long(4001)
    assert not watchdog._is_too_long(3999)
