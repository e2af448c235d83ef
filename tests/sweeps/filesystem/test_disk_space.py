"""A full disk: the trial is released, the sweep stops with the reason, and nothing is lost."""

import errno
import itertools
import json
import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from sweeps.config.cluster import Cluster
from sweeps.filesystem import disk_space
from sweeps.monitor.summary import NextCommands, summarize
from sweeps.monitor.sweep_status import sweep_status
from sweeps.storage.sweep import Sweep, clear_stop, stop_reason
from sweeps.storage.trial_record import read_curve
from sweeps.streams import OutputError
from sweeps.workers.exit_codes import ExitCode
from sweeps.workers.retry import MAX_ENVIRONMENT_FAILURES, describe_failures
from tests.sweeps.conftest import MakeSweep, fill, worker_of
from tests.sweeps.tiny import Tiny
from tests.sweeps.workers.test_crashes import outcome
from tests.sweeps.workers.test_retry import run_job


def failing_fit(number: int, at: int) -> Callable[..., Iterator[object]]:
    """Return a `fit` that raises an `OSError` when it writes the checkpoint of epoch `at`."""
    original = Tiny.fit

    def fit(*args: object, **kwargs: object) -> Iterator[object]:
        for row in original(*args, **kwargs):
            yield row
            if row.epoch == at - 1:
                raise OSError(number, os.strerror(number), str(args[2] / "last.pt"))

    return fit


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_checkpoint_without_disk_space_stops_the_sweep_and_loses_nothing(
    make_sweep: MakeSweep, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    whole = make_sweep("whole", trials=3)
    worker_of(whole).run()
    sweep = make_sweep(trials=3)
    with monkeypatch.context() as patch:
        patch.setattr(Tiny, "fit", failing_fit(number, at=4))
        assert worker_of(sweep).run() is ExitCode.DISK_FULL
    trial = sweep.paths.trials()[0]
    assert len(read_curve(trial)) == 3
    assert trial.attempts()[-1].released.exists()
    assert f"no disk space left in {trial.attempt(1).checkpoints} (" in stop_reason(sweep.paths)
    assert stop_reason(sweep.paths).endswith("sweeps clean")
    clear_stop(sweep.paths)
    assert worker_of(sweep).run() is ExitCode.DONE
    assert outcome(sweep) == outcome(whole)
    assert len((trial.folder / "computed.log").read_text().split()) == len(read_curve(trial))


def test_after_another_error_of_the_file_system_the_worker_waits_and_retries(
    make_sweep: MakeSweep, monkeypatch: pytest.MonkeyPatch
) -> None:
    sweep = make_sweep(trials=1, pruner="none")
    monkeypatch.setattr("sweeps.workers.trial.RETRY_WAIT_SECONDS", 0.01)
    fit, failing = Tiny.fit, failing_fit(errno.ESTALE, at=2)
    tries = itertools.count()

    def failing_three_times(*args: object, **kwargs: object) -> Iterator[object]:
        return (failing if next(tries) < 3 else fit)(*args, **kwargs)

    monkeypatch.setattr(Tiny, "fit", failing_three_times)
    assert worker_of(sweep).run() is ExitCode.DONE
    (trial,) = sweep.paths.trials()
    assert len(trial.attempts()) == 4
    assert describe_failures(trial) == "environment unavailable 3 times"
    assert [row.epoch for row in read_curve(trial)] == list(range(1, 10))
    assert len((trial.folder / "computed.log").read_text().split()) == 9


@pytest.mark.parametrize(
    ("number", "code", "reason"),
    [
        (errno.ENOSPC, ExitCode.DISK_FULL, "no disk space left in "),
        (errno.EPIPE, ExitCode.DONE, "environment unavailable"),
    ],
)
def test_a_log_that_cannot_be_written_fails_no_trial(
    make_sweep: MakeSweep,
    monkeypatch: pytest.MonkeyPatch,
    number: int,
    code: ExitCode,
    reason: str,
) -> None:
    sweep = make_sweep(trials=1, pruner="none")
    monkeypatch.setattr("sweeps.workers.trial.RETRY_WAIT_SECONDS", 0.01)

    def printing(*_: object, **__: object) -> Iterator[object]:
        raise OutputError("standard output cannot be written", number)

    with monkeypatch.context() as patch:
        patch.setattr(Tiny, "fit", printing)
        assert worker_of(sweep).run() is code
    (trial,) = sweep.paths.trials()
    assert not trial.settled.exists()
    assert reason in stop_reason(sweep.paths)


def test_an_environment_that_stays_unavailable_stops_the_sweep_and_fails_no_trial(
    make_sweep: MakeSweep, monkeypatch: pytest.MonkeyPatch
) -> None:
    sweep = make_sweep(trials=2, pruner="none")
    monkeypatch.setattr("sweeps.workers.trial.RETRY_WAIT_SECONDS", 0.01)
    with monkeypatch.context() as patch:
        patch.setattr(Tiny, "fit", failing_fit(errno.EIO, at=3))
        assert worker_of(sweep).run() is ExitCode.DONE
    (trial,) = sweep.paths.trials()
    assert not trial.settled.exists()
    reason = (
        f"environment unavailable, {MAX_ENVIRONMENT_FAILURES} times in a row: OSError: [Errno 5]"
    )
    assert reason in stop_reason(sweep.paths)
    assert "Input/output error" in trial.attempts()[-1].traceback.read_text()
    kept = trial.attempts()[-1].last_checkpoint
    assert json.loads(kept.read_text())["row"]["epoch"] == 2
    clear_stop(sweep.paths)
    assert worker_of(sweep).run() is ExitCode.DONE
    assert sweep.is_over()
    assert len((trial.folder / "computed.log").read_text().split()) == 9


def test_an_exceeded_quota_that_prevents_recording_the_reason_is_in_the_summary(
    make_sweep: MakeSweep, monkeypatch: pytest.MonkeyPatch
) -> None:
    sweep = make_sweep(trials=3)

    def refuse(**named: object) -> object:
        raise OSError(errno.EDQUOT, os.strerror(errno.EDQUOT))

    commands = NextCommands("again", None, "ui", "promote", None, "sync")

    def summary() -> str:
        status = sweep_status(sweep, stop_reason(sweep.paths))
        return "\n".join(summarize(status, sweep, commands).lines)

    assert "no disk space" not in summary()
    monkeypatch.setattr("sweeps.monitor.summary.tempfile.TemporaryFile", refuse)
    assert f"no disk space left in {sweep.paths.folder} (Disk quota exceeded)" in summary()


def test_no_epoch_begins_whose_checkpoint_would_not_fit(
    make_sweep: MakeSweep, monkeypatch: pytest.MonkeyPatch
) -> None:
    sweep = make_sweep(trials=1, pruner="none")
    usage = shutil.disk_usage(sweep.paths.folder)

    def free(folder: Path) -> object:
        kept = next(
            iter(sweep.paths.trials()[0].folder.glob("attempts/*/checkpoints/last.pt")), None
        )
        size = 0 if kept is None else 2 * kept.stat().st_size
        return usage._replace(
            free=disk_space.RESERVED_BYTES + size - (len(read_curve(trial())) == 2)
        )

    def trial() -> object:
        return sweep.paths.trials()[0]

    monkeypatch.setattr("sweeps.filesystem.disk_space.shutil.disk_usage", free)
    assert worker_of(sweep).run() is ExitCode.DISK_FULL
    assert len(read_curve(trial())) == 2
    assert "16 MiB needed" in stop_reason(sweep.paths)
    monkeypatch.undo()
    clear_stop(sweep.paths)
    assert worker_of(sweep).run() is ExitCode.DONE
    assert len(read_curve(trial())) == 9


def test_a_sweep_survives_a_disk_that_is_really_full_at_any_write(
    make_sweep: MakeSweep, small_disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # As with a quota, which the check before an epoch cannot see.
    monkeypatch.setattr(disk_space, "RESERVED_BYTES", -(2**30))
    whole = make_sweep("whole", trials=3)
    worker_of(whole).run()
    sweep: Sweep = make_sweep(str(small_disk / "runs"), trials=3)
    fit, ballast = Tiny.fit, small_disk / "ballast"

    def filling(*args: object, **kwargs: object) -> Iterator[object]:
        for row in fit(*args, **kwargs):
            if row.epoch == 2:
                fill(small_disk)
            yield row

    with monkeypatch.context() as patch:
        patch.setattr(Tiny, "fit", filling)
        assert worker_of(sweep).run() is ExitCode.DISK_FULL
    ballast.unlink()
    for trial in sweep.paths.trials():
        trial.attempts()[-1].released.touch()  # this process runs on, unlike a worker's
    clear_stop(sweep.paths)
    assert worker_of(sweep).run() is ExitCode.DONE
    assert outcome(sweep) == outcome(whole)


def test_a_job_on_a_full_disk_restarts_no_worker_and_continues_once_there_is_space(
    make_sweep: MakeSweep, small_disk: Path
) -> None:
    cluster = Cluster(workers=2)
    sweep = make_sweep(str(small_disk / "runs"), trials=2, pruner="none", cluster=cluster)
    output = run_job(sweep)
    codes = re.findall(r"ended with status (\d+)", output)
    assert len(codes) == 2
    # The other worker may have found the sweep stopped already.
    assert str(int(ExitCode.DISK_FULL)) in codes
    assert set(codes) <= {str(int(ExitCode.DISK_FULL)), "0"}
    assert "16 MiB needed" in stop_reason(sweep.paths)
    subprocess.run(["mount", "-o", "remount,size=64m", str(small_disk)], check=True)
    clear_stop(sweep.paths)
    run_job(sweep)
    assert sweep.is_over()
    assert [len(read_curve(trial)) for trial in sweep.paths.trials()] == [9, 9]
