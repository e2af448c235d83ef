"""Where jobs died before any epoch, the reason is shown from the newest log."""

import os
from pathlib import Path

import pytest

from sweeps.monitor.last_error import last_error_lines
from sweeps.monitor.summary import NextCommands, summarize
from sweeps.monitor.watch import current_status
from sweeps.storage.job_record import JobRecord, write_job_record
from sweeps.storage.sweep import Sweep
from tests.sweeps.conftest import MakeSweep

SETUP_FAILED = """
Lmod has detected the following error: The following module is unknown: "cuda/99"
srun: error: n1: task 0: Exited with exit code 1
"""


@pytest.fixture
def sweep(make_sweep: MakeSweep) -> Sweep:
    return make_sweep()


def write_log(path: Path, text: str, age: int) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    os.utime(path, (1_000_000 - age, 1_000_000 - age))
    return path


def worker_log(sweep: Sweep, text: str, age: int) -> Path:
    job = sweep.paths.job("a-0")
    job.folder.mkdir(parents=True)
    write_job_record(job.submitted, JobRecord("12_0", "local", None))
    return write_log(job.worker_log(1), text, age)


def test_the_end_of_a_failed_setup_is_shown_with_its_file(sweep: Sweep) -> None:
    worker_log(sweep, "Traceback\nValueError: older\n", age=20)
    log = write_log(sweep.paths.scheduler_logs / "12_0_0_log.err", SETUP_FAILED, age=10)
    commands = NextCommands(
        resume="r", report=None, compare="c", promote=None, models=None, sync="s"
    )
    lines = summarize(current_status(sweep), sweep, commands).lines
    first = lines.index(f"the newest log ends with these lines ({log}):")
    assert lines[first + 1] == (
        '  Lmod has detected the following error: The following module is unknown: "cuda/99"'
    )
    assert lines[first + 2] == "resume with:\n  r"


def test_of_a_worker_that_died_the_last_lines_are_shown(sweep: Sweep) -> None:
    write_log(sweep.paths.scheduler_logs / "12_0_0_log.err", SETUP_FAILED, age=30)
    write_log(sweep.paths.scheduler_logs / "13_0_0_log.err", "\n\n", age=0)  # nothing in it
    log = worker_log(sweep, "x" * 10_000 + "\nimport torch\nImportError: libcudart\x1b[0m\n", 20)
    named, *shown = last_error_lines(sweep.paths)
    assert str(log) in named
    assert shown[0] == "  import torch"
    assert shown[1].startswith("  ImportError: libcudart")
    assert "\x1b" not in shown[1]


def test_a_sweep_without_logs_has_no_last_error(sweep: Sweep) -> None:
    assert list(last_error_lines(sweep.paths)) == []
