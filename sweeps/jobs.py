"""Which of a sweep's jobs run or wait, by asking the machine or SLURM."""

import shutil
import subprocess
import time
from typing import Any

from sweeps import files
from sweeps.errors import WorldError
from sweeps.machine import Process, hostname
from sweeps.paths import JobPaths, SweepPaths

SQUEUE_SECONDS = 60
SILENT_SECONDS = 600.0
"""Silence after which a job on another machine, without a scheduler to ask, counts as gone."""


def jobs_alive(paths: SweepPaths) -> list[JobPaths]:
    """The sweep's jobs that run or wait, each judged by the scheduler it was sent to.

    Where there is no SLURM, jobs that were sent to one cannot be seen and do not count.

    Raises:
        WorldError: SLURM does not answer.
    """
    pending = {job: _record(job) for job in paths.jobs() if not job.ended.exists()}
    in_slurm = any(record.get("scheduler") == "slurm" for record in pending.values())
    queued = _queued() if in_slurm and shutil.which("squeue") else set()
    return [
        job
        for job, record in pending.items()
        if (record["id"] in queued if record.get("scheduler") == "slurm" else _may_run(job, record))
    ]


def _record(job: JobPaths) -> dict[str, Any]:
    """What was written down at submission, or else by the job as it started."""
    record: dict[str, Any] = files.read_json(job.submitted) or files.read_json(job.started) or {}
    return record


def _may_run(job: JobPaths, record: dict[str, Any]) -> bool:
    """Whether a local job's processes are here, or it shows that it lives on another machine."""
    known = [files.read_json(job.started), record.get("process")]
    processes = [Process.from_json(content) for content in known if content]
    if any(process.is_here() for process in processes):
        return True
    elsewhere = any(process.machine.partition("/")[0] != hostname() for process in processes)
    return elsewhere and _was_alive_lately(job)


def _was_alive_lately(job: JobPaths) -> bool:
    """Whether the job's supervisor touched its file; the limit is far above what clocks differ."""
    try:
        return time.time() - job.started.stat().st_mtime < SILENT_SECONDS
    except FileNotFoundError:
        return False


def _queued() -> set[str]:
    """The numbers of this user's jobs that SLURM runs or keeps waiting."""
    command = ["squeue", "--me", "--noheader", "--array", "--format=%i"]
    try:
        answer = subprocess.run(
            command, capture_output=True, text=True, timeout=SQUEUE_SECONDS, check=True
        )
    except (OSError, subprocess.SubprocessError) as error:
        reason = getattr(error, "stderr", None) or error
        raise WorldError(f"squeue does not answer: {reason}") from error
    return set(answer.stdout.split())
