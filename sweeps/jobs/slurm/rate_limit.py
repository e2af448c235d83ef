"""The rate limit of SLURM commands: two in any minute, for all sweeps of a user together.

Each command is recorded before it is run, with its time by the file server's clock. The commands
that bring a job into the queue (`sbatch`, `scontrol requeue`) do not count: they are one for each
submission.
"""

import json
import os
import sys
import time
from contextlib import suppress

from sweeps.errors import EnvironmentFailure
from sweeps.filesystem import atomic
from sweeps.filesystem.lock import Lock
from sweeps.jobs.slurm.commands import COMMAND_SECONDS, IMPATIENT, Patience, run_command
from sweeps.storage.paths import SlurmPaths

MAX_QUERIES = 2
WINDOW_SECONDS = 62.0
"""A little more than a minute: a busy machine may pause between the record and the command."""


def query_lock(slurm: SlurmPaths) -> Lock:
    """Return the lock under which a process decides whether it may ask SLURM.

    Raises:
        EnvironmentFailure: the queries cannot be recorded.
    """
    _make_folder(slurm)
    return Lock(slurm.lock, stale_after=2 * COMMAND_SECONDS)


def file_server_time(slurm: SlurmPaths) -> float:
    """Return the time by the file server's clock, in seconds since 1970.

    Raises:
        EnvironmentFailure: the folder in which it is measured cannot be written.
    """
    _make_folder(slurm)
    slurm.clock.touch()
    return slurm.clock.stat().st_mtime


def seconds_until_allowed(slurm: SlurmPaths, *, spare: int = 0) -> float:
    """Return the seconds until a command may be run. Call it only under the lock.

    Args:
        slurm: where the commands are recorded.
        spare: how many more commands must be allowed after this one.
    """
    times = _recent_queries(slurm)
    limit = MAX_QUERIES - spare
    return (
        max(0.0, WINDOW_SECONDS - (file_server_time(slurm) - times[-limit]))
        if len(times) >= limit
        else 0.0
    )


def record_query(slurm: SlurmPaths) -> None:
    """Record that a command is run now. Call it only under the lock."""
    atomic.write(slurm.queries, json.dumps([*_recent_queries(slurm), file_server_time(slurm)]))


def run_when_allowed(slurm: SlurmPaths, *command: str, patience: Patience = IMPATIENT) -> str:
    """Run a command as soon as the rate limit allows it, and return its output.

    Raises:
        EnvironmentFailure: SLURM does not answer, or refuses.
    """
    while not _take_query(slurm):
        wait_until_allowed(slurm)
    return run_command(*command, patience=patience)


def run_if_allowed(slurm: SlurmPaths, *command: str) -> str | None:
    """Run a command and return its output; None if the rate limit does not allow it now.

    Raises:
        EnvironmentFailure: SLURM does not answer, or refuses.
    """
    return run_command(*command) if _take_query(slurm) else None


def wait_until_allowed(slurm: SlurmPaths) -> None:
    """Wait until a command may be run, and print for how long."""
    with query_lock(slurm).hold():
        pause = seconds_until_allowed(slurm)
    if pause > 0:
        message = f"SLURM is asked at most {MAX_QUERIES} times a minute; waiting {pause:.0f} s"
        print(message, file=sys.stderr)
        time.sleep(pause)


def _make_folder(slurm: SlurmPaths) -> None:
    """Create the folder of the records; without it nothing would bound how often SLURM is asked."""
    with suppress(OSError):
        slurm.folder.mkdir(parents=True, exist_ok=True)
    if not os.access(slurm.folder, os.W_OK):
        raise EnvironmentFailure(
            f"{slurm.folder} cannot be written, and SLURM is asked only where that is recorded"
        )


def _take_query(slurm: SlurmPaths) -> bool:
    with query_lock(slurm).hold():
        if seconds_until_allowed(slurm) > 0:
            return False
        record_query(slurm)
        return True


def _recent_queries(slurm: SlurmPaths) -> list[float]:
    """Return the times of the last minute's commands, the earliest first."""
    times = atomic.read_json(slurm.queries) or []
    return [then for then in times if abs(file_server_time(slurm) - then) < WINDOW_SECONDS]
