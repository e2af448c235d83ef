"""The launcher: how many jobs a sweep needs, and the submission of the missing ones, each once."""

import json
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from sweeps.config.cluster import Cluster, workers_and_threads
from sweeps.errors import EnvironmentFailure, InputError
from sweeps.filesystem.lock import Lock
from sweeps.jobs.gpu_variables import restore_visible_devices, visible_devices
from sweeps.jobs.job_status import active_jobs
from sweeps.jobs.slurm.answers import QueueEntry
from sweeps.jobs.slurm.commands import PAUSE_SECONDS, PERSON, SlurmUnavailableError
from sweeps.jobs.slurm.identity import (
    index_of,
    is_of_submission,
    listed,
    split_by_viewpoint,
    submission_of,
    viewpoint,
)
from sweeps.jobs.slurm.pending_reasons import is_failed_launch
from sweeps.jobs.slurm.queue import Queue, read_queue
from sweeps.jobs.slurm.rate_limit import file_server_time, run_when_allowed
from sweeps.jobs.submit import ArrayTooLargeError, TooManyJobsError, make_private, submit_tasks
from sweeps.jobs.supervisor import Supervisor
from sweeps.storage.job_record import open_jobs, read_job_record, write_job_record
from sweeps.storage.paths import JobPaths, SweepPaths
from sweeps.storage.sweep import Sweep, open_sweep
from sweeps.streams import accept_any_text

MAX_QUEUED_JOBS = 500
"""The most jobs of a sweep in the queue.

By default SLURM allows 1,000 tasks in an array, and other users' jobs are pending, too.
"""
LOCK_STALE_SECONDS = 300.0
"""How long a launcher on another machine may show no sign of life before it counts as dead.

The limit is long because sbatch can be slow.
"""
QUEUE_AGE_SECONDS = 5.0
"""The oldest answer of squeue from which the missing jobs are counted.

A person who cancels all jobs and runs the sweep again wants new jobs. An answer of a minute ago
would still list the cancelled ones.
"""


@dataclass(frozen=True)
class SupervisorTask:
    """The task of a job: a supervisor for the sweep in a folder.

    Attributes:
        folder: the sweep's folder.
        token: the job's token.
        devices: `visible_devices` at submission, for a local job: submitit would hide every GPU
            from it. None leaves the choice to the scheduler.
    """

    folder: Path
    token: str
    devices: Mapping[str, str] | None

    def __call__(self) -> None:
        """Run the job."""
        accept_any_text()  # submitit, not a command of this program, has started the process
        if self.devices is not None:
            restore_visible_devices(self.devices)
        paths = SweepPaths(self.folder)
        Supervisor(open_sweep(paths), paths.job(self.token)).run()


def required_jobs(cluster: Cluster, trials_left: int) -> int:
    """Return how many jobs must run or be pending while `trials_left` trials have not ended."""
    if not cluster.trials_per_job or cluster.scheduler == "local":
        return cluster.jobs
    workers, _ = workers_and_threads(cluster)
    trials_a_job = cluster.trials_per_job * workers
    return min(MAX_QUEUED_JOBS, max(1, -(-trials_left // trials_a_job)))


def submit_missing(sweep: Sweep) -> list[str]:
    """Submit jobs until as many run or are pending as the cluster file requests.

    Returns:
        The scheduler's job ids of the jobs submitted now; empty if none was missing.

    Raises:
        InputError: the scheduler refused what the cluster file requests.
        EnvironmentFailure: the scheduler accepted no job for another reason.
    """
    if sweep.plan.cluster.scheduler != "local":
        return submit_missing_here(sweep)
    # A local job of submitit belongs to the session of the process that submits it. Without a
    # session of its own, Ctrl-C or a closed terminal would end the sweep together with its
    # watcher, and `make sweep | tee log` would hang.
    command = [sys.executable, "-m", "sweeps", "submit", str(sweep.paths.folder)]
    make_private(sweep.paths.scheduler_logs)
    with tempfile.TemporaryFile() as answer, sweep.paths.submission_log.open("ab") as log:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=answer, stderr=log, start_new_session=True
        )
        if process.wait():
            raise EnvironmentFailure(
                f"no local job could be started; see the reason in {sweep.paths.submission_log}"
            )
        answer.seek(0)
        return list(json.loads(answer.read()))


def submit_missing_here(sweep: Sweep) -> list[str]:
    """Submit the missing jobs from this process, under a lock.

    Two launchers at once take turns, so neither submits again what the other has submitted.

    Raises:
        InputError: the scheduler refused what the cluster file requests.
        EnvironmentFailure: the scheduler accepted no job for another reason, or did not answer
            for a long time.
    """
    began = time.monotonic()
    while True:
        try:
            return _submit_missing_once(sweep)
        except SlurmUnavailableError as error:
            if time.monotonic() - began > PERSON.seconds(error):
                raise
            print(f"{error}; trying again", file=sys.stderr, flush=True)
            time.sleep(PAUSE_SECONDS)


def _submit_missing_once(sweep: Sweep) -> list[str]:
    with Lock(sweep.paths.lock("launch"), stale_after=LOCK_STALE_SECONDS).hold() as turn:
        if sweep.plan.cluster.scheduler == "slurm":
            _cancel_unrecorded_jobs(sweep.paths)
            _release_held_jobs(sweep.paths)
        active = active_jobs(sweep.paths, max_age=QUEUE_AGE_SECONDS)
        missing = required_jobs(sweep.plan.cluster, sweep.progress().left) - len(active)
        turn.check()
        return _submit_or_fewer(sweep, missing, len(active)) if missing > 0 else []


def _cancel_unrecorded_jobs(paths: SweepPaths) -> None:
    """Cancel jobs whose launcher was killed after sbatch: their task was never written.

    A job's comment names its submission. Its index in the array names the job of that submission.
    Another user's jobs are left alone: her launcher may be at work.
    """
    found = [job for job in paths.unrecorded_jobs() if not job.ended.exists()]
    if not found:
        return
    here = viewpoint(paths)
    unrecorded = [job for job in found if here.judges(job, read_job_record(job))]
    if not unrecorded:
        return
    entries = read_queue(paths, since=file_server_time(paths.slurm)).entries.values()
    orphaned = [e.id for e in entries if any(_is_job(e, job) for job in unrecorded)]
    if orphaned:
        run_when_allowed(paths.slurm, "scancel", *orphaned)
    for job in unrecorded:
        job.ended.touch()


def _release_held_jobs(paths: SweepPaths) -> None:
    """Release the jobs that SLURM holds because a node failed to start them.

    SLURM holds such a job until somebody releases it. A job that a person or the site holds for
    another reason is left as it is.
    """
    judged, _ = split_by_viewpoint(paths, open_jobs(paths))
    if not judged:
        return
    queue = read_queue(paths, max_age=QUEUE_AGE_SECONDS)
    held = [e.id for e in _pending_jobs(paths, queue).values() if is_failed_launch(e.reason)]
    if held:
        try:
            run_when_allowed(paths.slurm, "scontrol", "release", ",".join(held))
        except SlurmUnavailableError:
            raise
        except EnvironmentFailure as error:  # cancelled meanwhile, or held by the site
            print(f"not released: {error}", file=sys.stderr, flush=True)
            return
        what = f"job {held[0]}" if len(held) == 1 else f"jobs {', '.join(held)}"
        print(f"{what}: released, after a node failed to start it", file=sys.stderr, flush=True)


def _pending_jobs(paths: SweepPaths, queue: Queue) -> dict[JobPaths, QueueEntry]:
    """Return the sweep's jobs that wait in SLURM's queue."""
    judged, _ = split_by_viewpoint(paths, open_jobs(paths))
    entries = {job: listed(queue, paths, job, record) for job, record in judged.items()}
    return {job: entry for job, entry in entries.items() if entry and entry.is_pending}


def cancel_pending_jobs(sweep: Sweep) -> list[str]:
    """Cancel the sweep's jobs that wait in SLURM's queue, and return their ids.

    It waits for an answer of SLURM from now on: jobs of a moment ago are not in an older one. A job
    that starts at this moment is left alone: it finds the sweep stopped, and ends.

    Raises:
        EnvironmentFailure: SLURM does not answer, or refuses.
    """
    paths = sweep.paths
    if not any(record.scheduler == "slurm" for record in open_jobs(paths).values()):
        return []
    queue = read_queue(paths, since=file_server_time(paths.slurm))
    pending = {entry.id: job for job, entry in _pending_jobs(paths, queue).items()}
    if pending:
        run_when_allowed(paths.slurm, "scancel", "--state=PENDING", *pending)
    for job in pending.values():
        if not job.started.exists():
            job.ended.touch()
    return list(pending)


def _is_job(entry: QueueEntry, job: JobPaths) -> bool:
    index = entry.id.partition("_")[2] or "0"
    return is_of_submission(entry, submission_of(job)) and index == index_of(job)


def _token(submission: str, index: int) -> str:
    """Return the token of one job of a submission."""
    return f"{submission}-{index}"


def _submit_or_fewer(sweep: Sweep, count: int, active: int) -> list[str]:
    """Submit `count` jobs, or fewer if the site allows no more at once or in one array.

    Fewer jobs do the same work, since jobs requeue themselves. So where one array may not have
    all of them, arrays are submitted only while `max_running_jobs` allows more to run beside the
    jobs that are `active`: each array has a limit of its own.
    """
    submitted: list[str] = []
    limit, size = sweep.plan.cluster.max_running_jobs, count
    while count > len(submitted) and (not submitted or limit > active + len(submitted)):
        try:
            size = min(size, count - len(submitted))
            submitted += _submit(sweep, size, max(1, limit - len(submitted)))
        except TooManyJobsError as error:
            if isinstance(error, ArrayTooLargeError):
                if active and limit <= active + len(submitted):
                    return submitted
            else:
                count = len(submitted) + size // 2  # the site allows no more
            size //= 2
            if not size and (submitted or active_jobs(sweep.paths)):
                return submitted  # these requeue themselves, so the sweep still ends
            if not size:
                raise
    return submitted


def _submit(sweep: Sweep, count: int, running: int) -> list[str]:
    """Submit one array of `count` jobs, of which at most `running` run at the same time."""
    cluster = sweep.plan.cluster.model_copy(update={"max_running_jobs": running})
    devices = visible_devices() if cluster.scheduler == "local" else None
    submission = f"{time.strftime('%Y%m%d-%H%M%S')}-{uuid.uuid4().hex[:6]}"
    jobs = [sweep.paths.job(_token(submission, index)) for index in range(count)]
    for job in jobs:
        job.folder.mkdir(parents=True)
    tasks = [SupervisorTask(sweep.paths.folder, job.token, devices) for job in jobs]
    try:
        records = submit_tasks(sweep.paths, cluster, submission, tasks)
    except SlurmUnavailableError:
        raise  # some may have been submitted: the next launcher finds them in the queue
    except (InputError, EnvironmentFailure):
        for job in jobs:  # none of them was accepted
            job.folder.rmdir()
        raise
    for job, record in zip(jobs, records, strict=True):
        write_job_record(job.submitted, record)
    return [record.id for record in records]
