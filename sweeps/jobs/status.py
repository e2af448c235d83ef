"""Which of a sweep's jobs run or wait, by asking the machine or SLURM."""

import shutil
import time
from typing import Any

from sweeps.filesystem import atomic
from sweeps.filesystem.process import Process, hostname
from sweeps.jobs.slurm.queue import MAX_AGE_SECONDS, Queue, read_queue
from sweeps.storage.paths import JobPaths, SweepPaths

GRACE_SECONDS = 90.0
"""How long after its submission a job may be missing in what squeue answered."""
SILENCE_SECONDS = 600.0
"""Silence after which a job on another machine, without a scheduler to ask, counts as gone."""


def active_jobs(paths: SweepPaths, *, max_age: float = MAX_AGE_SECONDS) -> list[JobPaths]:
    """The sweep's jobs that run or wait, each judged by the scheduler it was sent to.

    Where there is no SLURM, jobs that were sent to one cannot be seen and do not count.

    Args:
        paths: the sweep's.
        max_age: how old SLURM's answer may be without asking it again.

    Raises:
        WorldError: SLURM does not answer.
    """
    pending = {job: read_job_record(job) for job in paths.jobs() if not job.ended.exists()}
    in_slurm = any(record.get("scheduler") == "slurm" for record in pending.values())
    asked = in_slurm and shutil.which("squeue") is not None
    queue = read_queue(paths, max_age=max_age) if asked else Queue(0.0, {})
    return [
        job
        for job, record in pending.items()
        if (
            asked and _is_queued(job, record, queue)
            if record.get("scheduler") == "slurm"
            else _may_run(job, record)
        )
    ]


def read_job_record(job: JobPaths) -> dict[str, Any]:
    """What was written down at submission, or else by the job as it started."""
    record: dict[str, Any] = atomic.read_json(job.submitted) or atomic.read_json(job.started) or {}
    return record


def _is_queued(job: JobPaths, record: dict[str, Any], queue: Queue) -> bool:
    """Whether SLURM has the job, or cannot have told of it yet."""
    if record["id"] in queue.entries:
        return True
    try:
        return job.submitted.stat().st_mtime > queue.queried_at - GRACE_SECONDS
    except FileNotFoundError:
        return False


def _may_run(job: JobPaths, record: dict[str, Any]) -> bool:
    """Whether a local job's processes are here, or it shows that it lives on another machine."""
    known = [atomic.read_json(job.started), record.get("process")]
    processes = [Process.from_json(content) for content in known if content]
    if any(process.is_here() for process in processes):
        return True
    elsewhere = any(process.machine.partition("/")[0] != hostname() for process in processes)
    return elsewhere and _was_alive_lately(job)


def _was_alive_lately(job: JobPaths) -> bool:
    """Whether the job's supervisor touched its file; the limit is far above what clocks differ."""
    try:
        return time.time() - job.started.stat().st_mtime < SILENCE_SECONDS
    except FileNotFoundError:
        return False
