"""A job's workers: replaced when they die, not replaced when they are done."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from sweeps.filesystem.process import Process
from sweeps.jobs.job_status import active_jobs
from sweeps.jobs.slots import Slot, Slots
from sweeps.storage.job_record import JobRecord, write_job_record
from sweeps.storage.sweep import Sweep
from sweeps.storage.trial_record import read_curve
from sweeps.workers.exit_codes import ExitCode
from tests.sweeps.conftest import MakeSweep


def make_slot(tmp_path: Path, script: str) -> Slot:
    return Slot(1, [sys.executable, "-c", script], tmp_path / "log", dict(os.environ))


def run_until_done(slot: Slot) -> None:
    deadline = time.monotonic() + 60
    while not slot.done:
        assert time.monotonic() < deadline
        slot.update(leaving=False)
        time.sleep(0.01)


def test_a_worker_that_has_nothing_left_to_do_is_not_replaced(tmp_path: Path) -> None:
    slot = make_slot(tmp_path, "print('done')")
    run_until_done(slot)
    assert slot.starts == 1
    assert slot.log.read_text() == "done\n"


def test_a_worker_that_died_is_replaced(tmp_path: Path) -> None:
    marker = tmp_path / "marker"
    script = (
        f"import os, pathlib; p = pathlib.Path({str(marker)!r})\n"
        "first = not p.exists(); p.touch()\n"
        "os.kill(os.getpid(), 9) if first else None"
    )
    slot = make_slot(tmp_path, script)
    run_until_done(slot)
    assert slot.starts == 2


def test_a_slot_whose_workers_die_again_and_again_is_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    slot = make_slot(tmp_path, "raise SystemExit(3)")
    monkeypatch.setattr("sweeps.jobs.slots.MAX_RESTARTS", 1)
    run_until_done(slot)
    assert slot.starts == 2


def test_no_worker_is_replaced_once_the_job_is_leaving(tmp_path: Path) -> None:
    slot = make_slot(tmp_path, "raise SystemExit(3)")
    slot.update(leaving=False)
    slot.process.wait()
    slot.update(leaving=True)
    assert slot.done
    empty = make_slot(tmp_path, "raise SystemExit(3)")
    empty.update(leaving=True)
    assert (empty.done, empty.starts) == (True, 0)


def test_after_a_signal_to_the_job_every_worker_finishes_its_epoch(
    make_sweep: MakeSweep, give_store: Callable[[Sweep], None]
) -> None:
    sweep = make_sweep(trials=4, seconds=0.3, pruner="none")
    give_store(sweep)
    job = sweep.paths.job("by-hand")
    job.folder.mkdir(parents=True)
    script = (
        "import sys; from pathlib import Path; from sweeps.jobs.launcher import SupervisorTask\n"
        "SupervisorTask(Path(sys.argv[1]), 'by-hand', None)()"
    )
    process = subprocess.Popen([sys.executable, "-c", script, str(sweep.paths.folder)])
    deadline = time.monotonic() + 60
    while sum(len(read_curve(trial)) for trial in sweep.paths.trials()) < 2:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=60) == 0
    assert job.ended.exists()
    assert not sweep.is_over()
    for trial in sweep.paths.trials():
        assert trial.settled.exists() or trial.attempts()[-1].released.exists()


def test_a_local_job_is_active_while_its_process_runs(make_sweep: MakeSweep) -> None:
    sweep = make_sweep()
    job = sweep.paths.job("one")
    job.folder.mkdir(parents=True)
    sleeper = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    write_job_record(job.submitted, JobRecord("1", "local", Process.of(sleeper.pid)))
    assert active_jobs(sweep.paths) == [job]
    sleeper.kill()
    threading.Event().wait(0.2)
    assert active_jobs(sweep.paths) == []  # a zombie does not count as a running process
    sleeper.wait()


def test_a_job_on_another_machine_is_active_while_it_shows_that_it_is_alive(
    make_sweep: MakeSweep,
) -> None:
    sweep = make_sweep()
    job = sweep.paths.job("one")
    job.folder.mkdir(parents=True)
    elsewhere = Process("elsewhere/1/2", 1, "1")
    write_job_record(job.started, JobRecord("", "local", elsewhere))
    assert active_jobs(sweep.paths) == [job]
    os.utime(job.started, (time.time() - 3600, time.time() - 3600))
    assert active_jobs(sweep.paths) == []


def test_a_worker_that_found_the_disk_full_is_not_replaced(tmp_path: Path) -> None:
    slot = make_slot(tmp_path, f"raise SystemExit({int(ExitCode.DISK_FULL)})")
    run_until_done(slot)
    assert slot.starts == 1


def make_slots(tmp_path: Path, regular: str, exclusive: str) -> Slots:
    """Two regular slots and the exclusive slot, each with a script as its worker."""
    script = f"import os, pathlib, sys, time; folder = pathlib.Path({str(tmp_path)!r})\n"
    return Slots(
        [make_slot(tmp_path, script + regular) for _ in range(2)],
        make_slot(tmp_path, script + exclusive),
    )


def run_all(slots: Slots) -> None:
    deadline = time.monotonic() + 60
    while not slots.are_done():
        assert time.monotonic() < deadline
        slots.update(leaving=False)
        time.sleep(0.01)


def test_the_exclusive_worker_runs_after_the_others_have_left_and_before_they_are_restarted(
    tmp_path: Path,
) -> None:
    regular = (
        "if (folder / 'solved').exists(): sys.exit(0)\n"
        "(folder / f'running-{os.getpid()}').touch()\n"
        "time.sleep(0.2); (folder / f'running-{os.getpid()}').unlink(); sys.exit(11)"
    )
    exclusive = "sys.exit(3) if list(folder.glob('running-*')) else (folder / 'solved').touch()"
    slots = make_slots(tmp_path, regular, exclusive)
    for slot in slots.regular:  # like real workers, they do not end at the signal at once
        slot.command[2] = "import signal; signal.signal(15, lambda *_: None)\n" + slot.command[2]
    run_all(slots)
    assert (tmp_path / "solved").exists()
    assert slots.exclusive.exit_code == 0


def test_an_exclusive_slot_whose_workers_die_again_and_again_is_not_used_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sweeps.jobs.slots.MAX_RESTARTS", 1)
    slots = make_slots(tmp_path, "sys.exit(11)", "sys.exit(3)")
    run_all(slots)
    assert slots.exclusive.starts == 2
    assert all(slot.done for slot in slots.regular)


STALE_FILE_HANDLES = """
import errno, os, sys
from pathlib import Path
from sweeps.jobs import supervisor
from sweeps.jobs.launcher import SupervisorTask
supervisor.ERROR_PAUSE_SECONDS = 0.5
touch, times = os.utime, []
def utime(path, *given, **named):
    if Path(path).name == "started.json":
        times.append(path)
        if 10 < len(times) < 13:
            raise OSError(errno.ESTALE, os.strerror(errno.ESTALE), str(path))
    return touch(path, *given, **named)
os.utime = utime
SupervisorTask(Path(sys.argv[1]), "by-hand", None)()
"""


def test_a_short_failure_of_the_file_server_does_not_end_the_job(make_sweep: MakeSweep) -> None:
    sweep = make_sweep(trials=4, pruner="none", seconds=0.1)
    sweep.paths.job("by-hand").folder.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-c", STALE_FILE_HANDLES, str(sweep.paths.folder)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("could not check the workers, will try again: [Errno 116]") == 2
    assert sweep.paths.job("by-hand").ended.exists()
    assert sweep.is_over()


def test_a_worker_that_does_not_end_when_killed_does_not_block_its_slot(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    slot = make_slot(tmp_path, "import time; time.sleep(60)")
    slot.update(leaving=False)
    process = slot.process
    monkeypatch.setattr("sweeps.jobs.slots.KILL_SECONDS", 0.1)
    monkeypatch.setattr(process, "kill", lambda: None)  # like a process that waits for a driver
    slot.kill_worker()
    assert slot.process is None
    monkeypatch.undo()
    process.kill()
    process.wait()
