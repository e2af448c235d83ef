"""Which of a sweep's jobs run or wait, by asking the machine or SLURM."""

import subprocess
from typing import Any

from sweeps import files
from sweeps.errors import WorldError
from sweeps.machine import Process, hostname
from sweeps.paths import JobPaths, SweepPaths

SQUEUE_SECONDS = 60


def jobs_alive(paths: SweepPaths) -> list[JobPaths]:
    """The sweep's jobs that run or wait, each judged by the scheduler it was sent to.

    Raises:
        WorldError: SLURM does not answer.
    """
    pending = {job: _record(job) for job in paths.jobs() if not job.ended.exists()}
    in_slurm = any(record.get("scheduler") == "slurm" for record in pending.values())
    queued = _queued() if in_slurm else set()
    return [
        job
        for job, record in pending.items()
        if (record["id"] in queued if record.get("scheduler") == "slurm" else _may_run(job, record))
    ]


def _record(job: JobPaths) -> dict[str, Any]:
    """What was written down at submission; empty where the submitter was killed before."""
    record: dict[str, Any] = files.read_json(job.submitted) or {}
    return record


def _may_run(job: JobPaths, record: dict[str, Any]) -> bool:
    """Whether a local job's processes are there, or on a machine that cannot be looked at."""
    known = [files.read_json(job.started), record.get("process")]
    processes = [Process.from_json(content) for content in known if content]
    elsewhere = (process.machine.partition("/")[0] != hostname() for process in processes)
    return any(process.is_here() for process in processes) or any(elsewhere)


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
