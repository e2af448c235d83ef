"""A job's workers: replaced when they die, let go when they are done."""

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
from sweeps.jobs.slots import Slot, Slots
from sweeps.jobs.status import active_jobs
from sweeps.storage.job_record import JobRecord, write_job_record
from sweeps.storage.sweep import Sweep
from sweeps.storage.trial_record import read_curve
from sweeps.workers.exit_codes import ExitCode
from tests.sweeps.conftest import MakeSweep


def place(tmp_path: Path, script: str) -> Slot:
    return Slot(1, [sys.executable, "-c", script], tmp_path / "log", dict(os.environ))


def run_out(filled: Slot) -> None:
    give_up = time.monotonic() + 60
    while not filled.done:
        assert time.monotonic() < give_up
        filled.update(leaving=False)
        time.sleep(0.01)


def test_a_worker_that_found_nothing_left_is_not_replaced(tmp_path: Path) -> None:
    filled = place(tmp_path, "print('done')")
    run_out(filled)
    assert filled.starts == 1
    assert filled.log.read_text() == "done\n"


def test_a_worker_that_died_is_replaced(tmp_path: Path) -> None:
    marker = tmp_path / "marker"
    script = (
        f"import os, pathlib; p = pathlib.Path({str(marker)!r})\n"
        "first = not p.exists(); p.touch()\n"
        "os.kill(os.getpid(), 9) if first else None"
    )
    filled = place(tmp_path, script)
    run_out(filled)
    assert filled.starts == 2


def test_a_worker_that_dies_again_and_again_is_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    filled = place(tmp_path, "raise SystemExit(3)")
    monkeypatch.setattr("sweeps.jobs.slots.MAX_RESTARTS", 1)
    run_out(filled)
    assert filled.starts == 2


def test_nobody_is_replaced_once_the_job_is_leaving(tmp_path: Path) -> None:
    filled = place(tmp_path, "raise SystemExit(3)")
    filled.update(leaving=False)
    filled.process.wait()
    filled.update(leaving=True)
    assert filled.done
    empty = place(tmp_path, "raise SystemExit(3)")
    empty.update(leaving=True)
    assert (empty.done, empty.starts) == (True, 0)


def test_a_signal_to_the_job_lets_every_worker_keep_its_epoch(
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
    give_up = time.monotonic() + 60
    while sum(len(read_curve(trial)) for trial in sweep.paths.trials()) < 2:
        assert time.monotonic() < give_up
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=60) == 0
    assert job.ended.exists()
    assert not sweep.is_over()
    for trial in sweep.paths.trials():
        assert trial.settled.exists() or trial.attempts()[-1].released.exists()


def test_a_job_is_alive_while_its_process_is(make_sweep: MakeSweep) -> None:
    sweep = make_sweep()
    job = sweep.paths.job("one")
    job.folder.mkdir(parents=True)
    sleeper = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    write_job_record(job.submitted, JobRecord("1", "local", Process.of(sleeper.pid)))
    assert active_jobs(sweep.paths) == [job]
    sleeper.kill()
    threading.Event().wait(0.2)
    assert active_jobs(sweep.paths) == []  # a zombie is no process any more
    sleeper.wait()


def test_a_job_on_another_machine_counts_while_it_shows_that_it_lives(
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
    filled = place(tmp_path, f"raise SystemExit({int(ExitCode.DISK_FULL)})")
    run_out(filled)
    assert filled.starts == 1


def slots(tmp_path: Path, usual: str, exclusive: str) -> Slots:
    """Two usual places, and one for a worker alone, each running a script."""
    script = f"import os, pathlib, sys, time; folder = pathlib.Path({str(tmp_path)!r})\n"
    return Slots(
        [place(tmp_path, script + usual) for _ in range(2)], place(tmp_path, script + exclusive)
    )


def run_all(places: Slots) -> None:
    give_up = time.monotonic() + 60
    while not places.are_done():
        assert time.monotonic() < give_up
        places.update(leaving=False)
        time.sleep(0.01)


def test_one_worker_alone_comes_after_the_others_have_left_and_before_they_come_back(
    tmp_path: Path,
) -> None:
    usual = (
        "if (folder / 'solved').exists(): sys.exit(0)\n"
        "(folder / f'there-{os.getpid()}').touch()\n"
        "time.sleep(0.2); (folder / f'there-{os.getpid()}').unlink(); sys.exit(11)"
    )
    exclusive = "sys.exit(3) if list(folder.glob('there-*')) else (folder / 'solved').touch()"
    places = slots(tmp_path, usual, exclusive)
    for one in places.regular:  # as workers do: heed the signal, and leave when ready
        one.command[2] = "import signal; signal.signal(15, lambda *_: None)\n" + one.command[2]
    run_all(places)
    assert (tmp_path / "solved").exists()
    assert places.exclusive.exit_code == 0


def test_where_the_one_alone_dies_again_and_again_nobody_asks_for_it_any_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sweeps.jobs.slots.MAX_RESTARTS", 1)
    places = slots(tmp_path, "sys.exit(11)", "sys.exit(3)")
    run_all(places)
    assert places.exclusive.starts == 2
    assert all(one.done for one in places.regular)


HICCUP = """
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


def test_a_file_server_that_hiccups_costs_no_job(make_sweep: MakeSweep) -> None:
    sweep = make_sweep(trials=4, pruner="none", seconds=0.1)
    sweep.paths.job("by-hand").folder.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-c", HICCUP, str(sweep.paths.folder)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("looking after the workers: [Errno 116]") == 2
    assert sweep.paths.job("by-hand").ended.exists()
    assert sweep.is_over()


def test_a_worker_that_cannot_even_be_killed_holds_nobody_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    filled = place(tmp_path, "import time; time.sleep(60)")
    filled.update(leaving=False)
    process = filled.process
    monkeypatch.setattr("sweeps.jobs.slots.KILL_SECONDS", 0.1)
    monkeypatch.setattr(process, "kill", lambda: None)  # as one that waits for a driver
    filled.kill_worker()
    assert filled.process is None
    monkeypatch.undo()
    process.kill()
    process.wait()
