"""The status of a sweep's jobs: which of them run or are pending, and lines that describe them."""

import json
import shutil
import time
from collections.abc import Iterable, Iterator, Mapping

from sweeps.errors import EnvironmentFailure
from sweeps.filesystem import atomic
from sweeps.filesystem.process import hostname
from sweeps.jobs.slurm.cores import fewer_cores_lines
from sweeps.jobs.slurm.pending_reasons import describe_reason
from sweeps.jobs.slurm.queue import MAX_AGE_SECONDS, Queue, QueueEntry, read_queue
from sweeps.jobs.slurm.rate_limit import run_if_allowed
from sweeps.storage.job_record import JobRecord, open_jobs_by_id, read_job_record, read_started
from sweeps.storage.paths import JobPaths, SweepPaths
from sweeps.text import duration

GRACE_SECONDS = 90.0
"""How long after its submission a job may be missing in squeue's answer."""
SILENCE_SECONDS = 600.0
"""How long a local job on another machine may show no sign of life before it counts as ended."""
_MAX_LISTED = 3
"""How many ids of jobs that are pending for the same reason are listed."""


def active_jobs(paths: SweepPaths, *, max_age: float = MAX_AGE_SECONDS) -> list[JobPaths]:
    """Return the sweep's jobs that run or are pending, as the scheduler of each job shows it.

    On a machine without SLURM, jobs that were submitted to SLURM cannot be seen and do not count.

    Args:
        paths: the sweep's paths.
        max_age: how old SLURM's last answer may be, in seconds, before it is asked again.

    Raises:
        EnvironmentFailure: SLURM does not answer.
    """
    records = {job: read_job_record(job) for job in paths.jobs() if not job.ended.exists()}
    in_slurm = any(record.scheduler == "slurm" for record in records.values())
    ask_slurm = in_slurm and shutil.which("squeue") is not None
    queue = read_queue(paths, max_age=max_age) if ask_slurm else Queue(0.0, {})
    return [
        job
        for job, record in records.items()
        if (
            ask_slurm and _is_queued(job, record, queue)
            if record.scheduler == "slurm"
            else _may_run(job, record)
        )
    ]


def _is_queued(job: JobPaths, record: JobRecord, queue: Queue) -> bool:
    """Return whether SLURM lists the job, or the job is too new to be in its answer."""
    if record.id in queue.entries:
        return True
    try:
        return job.submitted.stat().st_mtime > queue.queried_at - GRACE_SECONDS
    except FileNotFoundError:
        return False


def _may_run(job: JobPaths, record: JobRecord) -> bool:
    """Return whether a local job runs on this machine, or shows that it runs on another one."""
    started = read_started(job)
    recorded = (None if started is None else started.process, record.process)
    processes = [process for process in recorded if process is not None]
    if any(process.is_here() for process in processes):
        return True
    elsewhere = any(process.machine.partition("/")[0] != hostname() for process in processes)
    return elsewhere and _was_alive_recently(job)


def _was_alive_recently(job: JobPaths) -> bool:
    """Return whether the job's supervisor touched its file in the last SILENCE_SECONDS.

    The limit is far greater than the difference between two machines' clocks.
    """
    try:
        return time.time() - job.started.stat().st_mtime < SILENCE_SECONDS
    except FileNotFoundError:
        return False


def describe_jobs(paths: SweepPaths) -> list[str]:
    """Describe the sweep's jobs in SLURM.

    Returns:
        A line for each job that runs, each reason why jobs are pending, each job that left the
        queue without ending its work, and each node without its GPU.

    Raises:
        EnvironmentFailure: SLURM does not answer.
    """
    jobs = open_jobs_by_id(paths)
    queue = read_queue(paths)
    entries = queue.entries
    listed = [entries[number] for number in jobs if number in entries]
    running = [_describe_running(entry) for entry in listed if not entry.is_pending]
    if not queue.queried_at:
        unknown = f"jobs: {len(jobs)} submitted; their state in SLURM will be known within a minute"
        return [unknown] if jobs else []
    return [
        *running,
        *_describe_pending(e for e in listed if e.is_pending),
        *_describe_vanished(paths, jobs),
        *_describe_bad_nodes(paths),
        *fewer_cores_lines(paths),
    ]


def _describe_running(entry: QueueEntry) -> str:
    if entry.state != "RUNNING":
        return f"job {entry.id} is {entry.state.lower().replace('_', ' ')}"
    left = "" if entry.seconds_left is None else f" ({duration(entry.seconds_left)} left)"
    return f"job {entry.id} runs on {entry.node}{left}"


def _describe_pending(entries: Iterable[QueueEntry]) -> Iterator[str]:
    ids_by_reason: dict[str, list[str]] = {}
    for entry in entries:
        ids_by_reason.setdefault(entry.reason, []).append(entry.id)
    for reason, numbers in ids_by_reason.items():
        more = f" and {len(numbers) - _MAX_LISTED} more" if len(numbers) > _MAX_LISTED else ""
        shown = ", ".join(numbers[:_MAX_LISTED]) + more
        subject = "job {} is pending" if len(numbers) == 1 else "jobs {} are pending"
        why = describe_reason(reason, " ".join(numbers[:_MAX_LISTED]))
        yield f"{subject.format(shown)}: {why}"


def _describe_vanished(paths: SweepPaths, jobs: Mapping[str, JobPaths]) -> Iterator[str]:
    """Yield a line for each job that left the queue without having recorded its end."""
    active = active_jobs(paths)
    vanished = {number: job for number, job in jobs.items() if job not in active and number}
    unknown = [number for number, job in vanished.items() if not job.final_state.exists()]
    states = _final_states(paths, unknown) if unknown else {}
    for number, state in states.items():
        atomic.write(vanished[number].final_state, json.dumps({"state": state}))
    for number, job in vanished.items():
        stored = atomic.read_json(job.final_state) or {"state": "UNKNOWN"}
        yield f"job {number} has left the queue: {_DESCRIPTIONS.get(stored['state'], 'it ended')}"


def _final_states(paths: SweepPaths, numbers: list[str]) -> dict[str, str]:
    """Return the final state of jobs from SLURM's accounting; empty if it may not be asked now."""
    which = f"--jobs={','.join(numbers)}"
    try:
        answer = run_if_allowed(paths.slurm, "sacct", "-nPX", which, "--format=JobID,State")
    except EnvironmentFailure:  # a site without accounting
        answer = ""
    if answer is None:
        return {}
    lines = [line.split("|") for line in answer.splitlines() if "|" in line]
    states = {number: state.split()[0] for number, state in lines if state}
    return {number: states.get(number, "UNKNOWN") for number in numbers}


def _describe_bad_nodes(paths: SweepPaths) -> Iterator[str]:
    for job in paths.jobs():
        if (found := atomic.read_json(job.bad_node)) is not None:
            failure = f"job {read_job_record(job).id} failed on {found['node']}"
            yield f"{failure}: {found['reason']}; the sweep's other jobs avoid this node"


_DESCRIPTIONS = {
    "CANCELLED": "it was cancelled",
    "TIMEOUT": "it reached its time limit before it could requeue itself",
    "OUT_OF_MEMORY": "the node's memory was not enough; set fewer workers in the cluster file",
    "NODE_FAIL": "its node failed",
    "PREEMPTED": "a job of a higher priority pre-empted it",
    "FAILED": "it failed; see its log in jobs/submitit",
    "BOOT_FAIL": "its node did not boot",
    "DEADLINE": "its deadline passed",
    "COMPLETED": "it ended",
}
