"""A full disk: the trial is given back, the sweep stands still and says why, nothing is lost."""

import errno
import itertools
import json
import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from sweeps.config.cluster import Cluster
from sweeps.filesystem import disk_space
from sweeps.monitor.status import sweep_status
from sweeps.monitor.summary import NextCommands, summarize
from sweeps.storage.sweep import Sweep, clear_stop, stop_reason
from sweeps.storage.trial_record import read_curve
from sweeps.workers.exit_codes import ExitCode
from sweeps.workers.retry import MAX_ENVIRONMENT_FAILURES, describe_failures
from tests.sweeps.conftest import MakeSweep, worker_of
from tests.sweeps.tiny import Tiny
from tests.sweeps.workers.test_crashes import outcome
from tests.sweeps.workers.test_retry import run_job


def fails(number: int, at: int) -> Callable[..., Iterator[object]]:
    """A trainer whose checkpoint of one epoch cannot be written."""
    fit = Tiny.fit

    def full(*given: object, **named: object) -> Iterator[object]:
        for row in fit(*given, **named):
            yield row
            if row.epoch == at - 1:
                raise OSError(number, os.strerror(number), str(given[2] / "last.pt"))

    return full


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_checkpoint_that_finds_no_room_stops_the_sweep_and_loses_nothing(
    make_sweep: MakeSweep, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    whole = make_sweep("whole", trials=3)
    worker_of(whole).run()
    sweep = make_sweep(trials=3)
    with monkeypatch.context() as patch:
        patch.setattr(Tiny, "fit", fails(number, at=4))
        assert worker_of(sweep).run() is ExitCode.DISK_FULL
    trial = sweep.paths.trials()[0]
    assert len(read_curve(trial)) == 3
    assert trial.attempts()[-1].released.exists()
    assert f"no room left in {trial.attempt(1).checkpoints} (" in stop_reason(sweep.paths)
    assert stop_reason(sweep.paths).endswith("sweeps clean")
    clear_stop(sweep.paths)
    assert worker_of(sweep).run() is ExitCode.DONE
    assert outcome(sweep) == outcome(whole)
    assert len((trial.folder / "computed.log").read_text().split()) == len(read_curve(trial))


def test_another_error_of_the_file_system_is_waited_out(
    make_sweep: MakeSweep, monkeypatch: pytest.MonkeyPatch
) -> None:
    sweep = make_sweep(trials=1, pruner="none")
    monkeypatch.setattr("sweeps.workers.trial.RETRY_WAIT_SECONDS", 0.01)
    fit, failing = Tiny.fit, fails(errno.ESTALE, at=2)
    tries = itertools.count()

    def at_first_failing(*given: object, **named: object) -> Iterator[object]:
        return (failing if next(tries) < 3 else fit)(*given, **named)

    monkeypatch.setattr(Tiny, "fit", at_first_failing)
    assert worker_of(sweep).run() is ExitCode.DONE
    (trial,) = sweep.paths.trials()
    assert len(trial.attempts()) == 4
    assert describe_failures(trial) == "kept from a file or its data 3 times"
    assert [row.epoch for row in read_curve(trial)] == list(range(1, 10))
    assert len((trial.folder / "computed.log").read_text().split()) == 9


def test_what_stays_out_of_reach_stops_the_sweep_and_fails_no_trial(
    make_sweep: MakeSweep, monkeypatch: pytest.MonkeyPatch
) -> None:
    sweep = make_sweep(trials=2, pruner="none")
    monkeypatch.setattr("sweeps.workers.trial.RETRY_WAIT_SECONDS", 0.01)
    with monkeypatch.context() as patch:
        patch.setattr(Tiny, "fit", fails(errno.EIO, at=3))
        assert worker_of(sweep).run() is ExitCode.DONE
    (trial,) = sweep.paths.trials()
    assert not trial.settled.exists()
    assert f"{MAX_ENVIRONMENT_FAILURES} times in a row: OSError: [Errno 5]" in stop_reason(
        sweep.paths
    )
    assert "Input/output error" in trial.attempts()[-1].traceback.read_text()
    kept = trial.attempts()[-1].last_checkpoint
    assert json.loads(kept.read_text())["row"]["epoch"] == 2
    clear_stop(sweep.paths)
    assert worker_of(sweep).run() is ExitCode.DONE
    assert sweep.is_over()
    assert len((trial.folder / "computed.log").read_text().split()) == 9


def test_a_quota_that_leaves_no_room_for_the_reason_is_named_at_the_end(
    make_sweep: MakeSweep, monkeypatch: pytest.MonkeyPatch
) -> None:
    sweep = make_sweep(trials=3)

    def refuse(**named: object) -> object:
        raise OSError(errno.EDQUOT, os.strerror(errno.EDQUOT))

    commands = NextCommands("again", "ui", "promote", "sync")

    def said() -> str:
        status = sweep_status(sweep, stop_reason(sweep.paths))
        return "\n".join(summarize(status, sweep, commands).lines)

    assert "no room" not in said()
    monkeypatch.setattr("sweeps.monitor.summary.tempfile.TemporaryFile", refuse)
    assert f"no room left in {sweep.paths.folder} (Disk quota exceeded)" in said()


def test_no_epoch_begins_whose_checkpoint_would_have_no_room(
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


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of a megabyte."""
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)]
    try:
        mounted = subprocess.run(command, capture_output=True).returncode == 0
    except FileNotFoundError:
        mounted = False
    if not mounted:
        pytest.skip("no file system can be mounted here")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def fill(folder: Path) -> Path:
    with (folder / "ballast").open("wb", buffering=0) as file:
        for size in (4096, 1):
            with suppress(OSError):
                while file.write(bytes(size)):
                    pass
    assert shutil.disk_usage(folder).free == 0
    return folder / "ballast"


def test_a_disk_that_is_really_full_is_survived_at_any_write(
    make_sweep: MakeSweep, small_disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        disk_space, "RESERVED_BYTES", -(2**30)
    )  # as with a quota, which does not show
    whole = make_sweep("whole", trials=3)
    worker_of(whole).run()
    sweep: Sweep = make_sweep(str(small_disk / "runs"), trials=3)
    fit, ballast = Tiny.fit, small_disk / "ballast"

    def filling(*given: object, **named: object) -> Iterator[object]:
        for row in fit(*given, **named):
            if row.epoch == 2:
                fill(small_disk)
            yield row

    with monkeypatch.context() as patch:
        patch.setattr(Tiny, "fit", filling)
        assert worker_of(sweep).run() is ExitCode.DISK_FULL
    ballast.unlink()
    for trial in sweep.paths.trials():
        trial.attempts()[-1].released.touch()  # this process lives on, as a worker would not
    clear_stop(sweep.paths)
    assert worker_of(sweep).run() is ExitCode.DONE
    assert outcome(sweep) == outcome(whole)


def test_a_job_on_a_small_disk_burns_no_restarts_and_goes_on_once_there_is_room(
    make_sweep: MakeSweep, small_disk: Path
) -> None:
    cluster = Cluster(workers=2)
    sweep = make_sweep(str(small_disk / "runs"), trials=2, pruner="none", cluster=cluster)
    said = run_job(sweep)
    ends = re.findall(r"ended with status (\d+)", said)
    assert len(ends) == 2
    assert (
        str(int(ExitCode.DISK_FULL)) in ends
    )  # the other one may have found the sweep stopped already
    assert set(ends) <= {str(int(ExitCode.DISK_FULL)), "0"}
    assert "16 MiB needed" in stop_reason(sweep.paths)
    subprocess.run(["mount", "-o", "remount,size=64m", str(small_disk)], check=True)
    clear_stop(sweep.paths)
    run_job(sweep)
    assert sweep.is_over()
    assert [len(read_curve(trial)) for trial in sweep.paths.trials()] == [9, 9]
