"""Which of a sweep's jobs run or wait, by asking the machine or SLURM; and the same in words."""

import json
import shutil
import time
from collections.abc import Iterable, Iterator, Mapping

from sweeps.errors import EnvironmentFailure
from sweeps.filesystem import atomic
from sweeps.filesystem.process import hostname
from sweeps.jobs.slurm.pending_reasons import describe_reason
from sweeps.jobs.slurm.queue import MAX_AGE_SECONDS, Queue, QueueEntry, read_queue
from sweeps.jobs.slurm.rate_limit import run_if_allowed
from sweeps.storage.job_record import JobRecord, jobs_by_id, read_job_record, read_started
from sweeps.storage.paths import JobPaths, SweepPaths
from sweeps.text import duration

GRACE_SECONDS = 90.0
"""How long after its submission a job may be missing in what squeue answered."""
SILENCE_SECONDS = 600.0
"""Silence after which a job on another machine, without a scheduler to ask, counts as gone."""
_MAX_LISTED = 3
"""How many numbers of jobs that wait alike are listed."""


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
    in_slurm = any(record.scheduler == "slurm" for record in pending.values())
    asked = in_slurm and shutil.which("squeue") is not None
    queue = read_queue(paths, max_age=max_age) if asked else Queue(0.0, {})
    return [
        job
        for job, record in pending.items()
        if (
            asked and _is_queued(job, record, queue)
            if record.scheduler == "slurm"
            else _may_run(job, record)
        )
    ]


def _is_queued(job: JobPaths, record: JobRecord, queue: Queue) -> bool:
    """Whether SLURM has the job, or cannot have told of it yet."""
    if record.id in queue.entries:
        return True
    try:
        return job.submitted.stat().st_mtime > queue.queried_at - GRACE_SECONDS
    except FileNotFoundError:
        return False


def _may_run(job: JobPaths, record: JobRecord) -> bool:
    """Whether a local job's processes are here, or it shows that it lives on another machine."""
    started = read_started(job)
    known = (None if started is None else started.process, record.process)
    processes = [process for process in known if process is not None]
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


def describe_jobs(paths: SweepPaths) -> list[str]:
    """A line for each job that SLURM runs, each reason for waiting, and each end that was none.

    Raises:
        WorldError: SLURM does not answer.
    """
    jobs = {number: job for number, job in jobs_by_id(paths).items() if not job.ended.exists()}
    queue = read_queue(paths)
    entries = queue.entries
    ours = [entries[number] for number in jobs if number in entries]
    running = [_running(entry) for entry in ours if not entry.is_pending]
    if not queue.queried_at:
        unknown = f"jobs: {len(jobs)} sent; SLURM is asked within a minute where they are"
        return [unknown] if jobs else []
    return [
        *running,
        *_waiting(e for e in ours if e.is_pending),
        *_gone(paths, jobs),
        *_bad_nodes(paths),
    ]


def _running(entry: QueueEntry) -> str:
    if entry.state != "RUNNING":
        return f"job {entry.id} is {entry.state.lower().replace('_', ' ')}"
    left = "" if entry.seconds_left is None else f" ({duration(entry.seconds_left)} left)"
    return f"job {entry.id} runs on {entry.node}{left}"


def _waiting(entries: Iterable[QueueEntry]) -> Iterator[str]:
    alike: dict[str, list[str]] = {}
    for entry in entries:
        alike.setdefault(entry.reason, []).append(entry.id)
    for reason, numbers in alike.items():
        more = f" and {len(numbers) - _MAX_LISTED} more" if len(numbers) > _MAX_LISTED else ""
        shown = ", ".join(numbers[:_MAX_LISTED]) + more
        verb = "job {} waits" if len(numbers) == 1 else "jobs {} wait"
        yield f"{verb.format(shown)}: {describe_reason(reason, ' '.join(numbers[:_MAX_LISTED]))}"


def _gone(paths: SweepPaths, jobs: Mapping[str, JobPaths]) -> Iterator[str]:
    """Jobs that left the queue without having said that they ended."""
    alive = active_jobs(paths)
    gone = {number: job for number, job in jobs.items() if job not in alive and number}
    unknown = [number for number, job in gone.items() if not job.final_state.exists()]
    fates = _final_states(paths, unknown) if unknown else {}
    for number, state in fates.items():
        atomic.write(gone[number].final_state, json.dumps({"state": state}))
    for number, job in gone.items():
        known = atomic.read_json(job.final_state) or {"state": "UNKNOWN"}
        yield f"job {number} is gone: {_DESCRIPTIONS.get(known['state'], 'ended')}"


def _final_states(paths: SweepPaths, numbers: list[str]) -> dict[str, str]:
    """What accounting says became of jobs; nothing where it was not to be asked just now."""
    which = f"--jobs={','.join(numbers)}"
    try:
        answer = run_if_allowed(paths.slurm, "sacct", "-nPX", which, "--format=JobID,State")
    except EnvironmentFailure:  # a site that keeps no accounts
        answer = ""
    if answer is None:
        return {}
    lines = [line.split("|") for line in answer.splitlines() if "|" in line]
    known = {number: state.split()[0] for number, state in lines if state}
    return {number: known.get(number, "UNKNOWN") for number in numbers}


def _bad_nodes(paths: SweepPaths) -> Iterator[str]:
    for job in paths.jobs():
        if (found := atomic.read_json(job.bad_node)) is not None:
            number = read_job_record(job).id
            yield f"job {number} failed on {found['node']}: {found['reason']}; it is left out now"


_DESCRIPTIONS = {
    "CANCELLED": "it was cancelled",
    "TIMEOUT": "its time was up before it could go back into the queue",
    "OUT_OF_MEMORY": "the node's memory did not suffice: fewer workers may",
    "NODE_FAIL": "its node failed",
    "PREEMPTED": "a job of a higher priority took its place",
    "FAILED": "it failed; the log in jobs/submitit says why",
    "BOOT_FAIL": "its node did not start",
    "DEADLINE": "its deadline passed",
    "COMPLETED": "it ended",
}
