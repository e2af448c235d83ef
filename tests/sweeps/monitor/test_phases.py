"""What is waited for before there are epochs, from the folders of real workers and jobs."""

import shutil

import pytest

from sweeps.filesystem.process import Process, this_process
from sweeps.monitor.lines import phase_lines
from sweeps.monitor.phases import trial_phase
from sweeps.monitor.watch import current_status
from sweeps.storage.job_record import JobRecord, write_job_record
from sweeps.storage.sweep import Sweep
from sweeps.storage.trial_record import append_row, mark_phase, write_continued
from sweeps.trainer import FinishedEpoch
from tests.sweeps.conftest import MakeSweep, worker_of


def test_a_trial_is_shown_with_what_it_does_until_its_first_epoch_has_ended(
    make_sweep: MakeSweep,
) -> None:
    sweep = make_sweep(trials=1)
    claim = worker_of(sweep)._next_claim()
    write_continued(claim.attempt, 0)
    name = claim.trial.name.partition("-")[0]
    assert phase_lines(current_status(sweep)) == [f"loading the trainer: {name}"]
    mark_phase(claim.attempt.loaded)
    assert phase_lines(current_status(sweep)) == [f"loading data: {name}"]
    mark_phase(claim.attempt.training)
    assert phase_lines(current_status(sweep)) == [f"first epoch: {name}"]
    append_row(claim.attempt, FinishedEpoch(1, {"val/score": 0.5}, 1000, 1.0))
    assert phase_lines(current_status(sweep)) == []


def test_a_worker_leaves_the_marks_of_each_phase(make_sweep: MakeSweep) -> None:
    sweep = make_sweep(trials=2)
    worker_of(sweep).run()
    for trial in sweep.paths.trials():
        assert all(a.loaded.exists() and a.training.exists() for a in trial.attempts())


@pytest.mark.parametrize("removed", ["loaded", "training"])
def test_a_trial_runs_to_its_end_where_no_mark_can_be_written(
    make_sweep: MakeSweep, monkeypatch: pytest.MonkeyPatch, removed: str
) -> None:
    sweep = make_sweep(trials=2)
    touch = type(sweep.paths.folder).touch

    def refuse(path: object, *rest: object, **options: object) -> None:
        if getattr(path, "name", "") == removed:
            raise OSError(28, "No space left on device")
        touch(path, *rest, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(type(sweep.paths.folder), "touch", refuse)
    worker_of(sweep).run()
    assert sweep.is_over()
    assert not any(getattr(a, removed).exists() for t in sweep.paths.trials() for a in t.attempts())


def test_no_mark_brings_a_removed_trial_back(make_sweep: MakeSweep) -> None:
    claim = worker_of(make_sweep(trials=1))._next_claim()
    shutil.rmtree(claim.trial.folder)
    mark_phase(claim.attempt.training)
    assert not claim.trial.folder.exists()
    assert trial_phase(claim.attempt, 0) == "loading the trainer"


def submitted(sweep: Sweep, process: Process) -> JobRecord:
    record = JobRecord("1", "local", process)
    job = sweep.paths.job("token")
    job.folder.mkdir(parents=True, exist_ok=True)
    write_job_record(job.submitted, record)
    return record


def test_a_job_is_shown_from_its_submission_to_its_first_trial(make_sweep: MakeSweep) -> None:
    sweep = make_sweep(trials=1)
    assert current_status(sweep).phase == ""
    record, job = submitted(sweep, this_process()), sweep.paths.job("token")
    assert current_status(sweep).phase == "starting a job"
    write_job_record(job.started, record)
    assert current_status(sweep).phase == "the job runs and starts its workers"
    job.worker_log(1).touch()
    assert current_status(sweep).phase.startswith("workers start: ")
    worker_of(sweep).run()
    assert current_status(sweep).phase.startswith("every trial has ended; ")
    job.ended.touch()
    assert current_status(sweep).phase == ""


def test_a_job_whose_process_is_gone_starts_nothing(make_sweep: MakeSweep) -> None:
    sweep = make_sweep(trials=1)
    submitted(sweep, Process(this_process().machine, this_process().pid, "another start"))
    assert current_status(sweep).phase == ""
