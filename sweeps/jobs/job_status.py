"""The status of a sweep's jobs: which of them run or are pending, and lines that describe them."""

import shutil
import time
from collections.abc import Iterable, Iterator, Mapping

from sweeps.filesystem import atomic
from sweeps.filesystem.process import hostname
from sweeps.jobs.slurm.answers import QueueEntry
from sweeps.jobs.slurm.cores import fewer_cores_lines
from sweeps.jobs.slurm.final_states import describe_final_state, record_final_states
from sweeps.jobs.slurm.identity import ended, listed, split_by_viewpoint, viewpoint
from sweeps.jobs.slurm.pending_reasons import describe_reason
from sweeps.jobs.slurm.queue import MAX_AGE_SECONDS, Queue, read_queue
from sweeps.storage.job_record import JobRecord, open_jobs, read_job_record, read_started
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
    Where SLURM is, but not the one or not the user that they were submitted to or by, they cannot
    be judged, and count: only where they were submitted is it known that they are gone.

    Args:
        paths: the sweep's paths.
        max_age: how old SLURM's last answer may be, in seconds, before it is asked again.

    Raises:
        EnvironmentFailure: SLURM does not answer.
    """
    records = open_jobs(paths)
    local = {job for job, record in records.items() if record.scheduler != "slurm"}
    active = {job for job in local if _may_run(job, records[job])}
    if len(local) < len(records) and shutil.which("squeue") is not None:
        judged, elsewhere = split_by_viewpoint(paths, records)
        queue = read_queue(paths, max_age=max_age) if judged else Queue(0.0, {})
        queued = (job for job, r in judged.items() if _is_queued(paths, job, r, queue))
        active |= {*elsewhere, *queued}
    return [job for job in records if job in active]


def jobs_elsewhere(paths: SweepPaths) -> list[str]:
    """Describe the sweep's open jobs that cannot be judged here: on another cluster, or another's.

    Returns:
        A line for each place; none on a machine without SLURM.
    """
    if shutil.which("squeue") is None:
        return []
    here, (_, elsewhere) = viewpoint(paths), split_by_viewpoint(paths, open_jobs(paths))
    jobs_by_reason: dict[str, list[JobPaths]] = {}
    for job, record in elsewhere.items():
        jobs_by_reason.setdefault(here.why_not(job, record), []).append(job)
    return [_describe_elsewhere(reason, jobs) for reason, jobs in jobs_by_reason.items()]


def _describe_elsewhere(reason: str, jobs: list[JobPaths]) -> str:
    numbers = [read_job_record(job).id or job.token for job in jobs]
    return f"{'job' if len(jobs) == 1 else 'jobs'} {_shortened(numbers)} {reason}"


def _is_queued(paths: SweepPaths, job: JobPaths, record: JobRecord, queue: Queue) -> bool:
    """Return whether SLURM lists the job, or the job is too new to be in its answer."""
    if listed(queue, paths, job, record) is not None:
        return True
    if ended(queue, paths, job, record) is not None:
        return False
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
        queue without ending its work, each place whose jobs cannot be judged here, and each node
        without its GPU.

    Raises:
        EnvironmentFailure: SLURM does not answer.
    """
    judged, _ = split_by_viewpoint(paths, open_jobs(paths))
    others = [*jobs_elsewhere(paths), *_describe_bad_nodes(paths), *fewer_cores_lines(paths)]
    if not judged:
        return others
    queue = read_queue(paths)
    if not queue.queried_at:
        known = f"{len(judged)} submitted; their state in SLURM will be known within a minute"
        return [f"jobs: {known}", *others]
    found = [listed(queue, paths, job, record) for job, record in judged.items()]
    entries = [entry for entry in found if entry is not None]
    return [
        *(_describe_running(entry) for entry in entries if not entry.is_pending),
        *_describe_pending(entry for entry in entries if entry.is_pending),
        *_describe_vanished(paths, judged, queue),
        *others,
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
        subject = "job {} is pending" if len(numbers) == 1 else "jobs {} are pending"
        why = describe_reason(reason, " ".join(numbers[:_MAX_LISTED]))
        yield f"{subject.format(_shortened(numbers))}: {why}"


def _shortened(numbers: list[str]) -> str:
    more = f" and {len(numbers) - _MAX_LISTED} more" if len(numbers) > _MAX_LISTED else ""
    return ", ".join(numbers[:_MAX_LISTED]) + more


def _describe_vanished(
    paths: SweepPaths, judged: Mapping[JobPaths, JobRecord], queue: Queue
) -> Iterator[str]:
    """Yield a line for each job that left the queue without having recorded its end."""
    vanished = {
        job: record
        for job, record in judged.items()
        if record.id and not _is_queued(paths, job, record, queue)
    }
    record_final_states(paths, vanished, queue)
    for job, record in vanished.items():
        yield f"job {record.id} has left the queue: {describe_final_state(job)}"


def _describe_bad_nodes(paths: SweepPaths) -> Iterator[str]:
    for job in paths.jobs():
        if (found := atomic.read_json(job.bad_node)) is not None:
            failure = f"job {read_job_record(job).id} failed on {found['node']}"
            yield f"{failure}: {found['reason']}; the sweep's other jobs avoid this node"
