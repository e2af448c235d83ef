"""How often SLURM is asked: at most twice in any minute, by all of a person's sweeps together.

Every question is written down, with its time by the file server's clock, before it is put. What
brings a job into the queue (sbatch, a job's own way back) is not counted here: one each.
"""

import json
import sys
import time

from sweeps.filesystem import atomic
from sweeps.filesystem.lock import Lock
from sweeps.jobs.slurm.commands import COMMAND_SECONDS, run_command
from sweeps.storage.paths import SlurmPaths

MAX_QUERIES = 2
WINDOW_SECONDS = 62.0
"""A little more than one: between the note and the command itself a busy machine may pause."""


def query_lock(slurm: SlurmPaths) -> Lock:
    """The lock under which it is decided whether SLURM is asked."""
    return Lock(slurm.lock, stale_after=2 * COMMAND_SECONDS)


def file_server_time(slurm: SlurmPaths) -> float:
    """The time by the file server's clock."""
    slurm.folder.mkdir(parents=True, exist_ok=True)
    slurm.clock.touch()
    return slurm.clock.stat().st_mtime


def seconds_until_allowed(slurm: SlurmPaths, *, spare: int = 0) -> float:
    """Seconds until one more question may be put, with `spare` more left; only under the lock."""
    times = _recent_queries(slurm)
    most = MAX_QUERIES - spare
    return (
        max(0.0, WINDOW_SECONDS - (file_server_time(slurm) - times[-most]))
        if len(times) >= most
        else 0.0
    )


def record_query(slurm: SlurmPaths) -> None:
    """Write down that a question is put now; only under the lock."""
    atomic.write(slurm.queries, json.dumps([*_recent_queries(slurm), file_server_time(slurm)]))


def run_when_allowed(slurm: SlurmPaths, *command: str, patience: float = 0.0) -> str:
    """What a command answers, given as soon as the minute allows it.

    Raises:
        WorldError: SLURM does not answer, or its answer was no.
    """
    while not _take_query(slurm):
        wait_until_allowed(slurm)
    return run_command(*command, patience=patience)


def run_if_allowed(slurm: SlurmPaths, *command: str) -> str | None:
    """What a command answers; None where the minute's questions have been put.

    Raises:
        WorldError: SLURM does not answer, or its answer was no.
    """
    return run_command(*command) if _take_query(slurm) else None


def wait_until_allowed(slurm: SlurmPaths) -> None:
    """Wait until a question may be put, and tell whoever waits for it."""
    with query_lock(slurm).hold():
        pause = seconds_until_allowed(slurm)
    if pause > 0:
        print(f"SLURM was asked twice this minute; again in {pause:.0f} s", file=sys.stderr)
        time.sleep(pause)


def _take_query(slurm: SlurmPaths) -> bool:
    with query_lock(slurm).hold():
        if seconds_until_allowed(slurm) > 0:
            return False
        record_query(slurm)
        return True


def _recent_queries(slurm: SlurmPaths) -> list[float]:
    """When questions were put in the last minute, the earliest first."""
    times = atomic.read_json(slurm.queries) or []
    return [then for then in times if abs(file_server_time(slurm) - then) < WINDOW_SECONDS]
