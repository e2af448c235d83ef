"""Launching: how many jobs a sweep is to have, and sending those that are missing, once."""

import json
import os
import subprocess
import sys
import tempfile
import time
import uuid
from dataclasses import dataclass
from pathlib import Path

from sweeps.config.cluster import Cluster, workers_and_threads
from sweeps.errors import EnvironmentFailure, InputError
from sweeps.filesystem.lock import Lock
from sweeps.jobs.slurm.commands import PAUSE_SECONDS, RETRY_SECONDS, SlurmUnavailableError
from sweeps.jobs.slurm.queue import read_queue
from sweeps.jobs.slurm.rate_limit import file_server_time, run_when_allowed
from sweeps.jobs.status import active_jobs
from sweeps.jobs.submit import TooManyJobsError, make_private, submit_tasks
from sweeps.jobs.supervisor import Supervisor
from sweeps.storage.job_record import write_job_record
from sweeps.storage.paths import SweepPaths
from sweeps.storage.sweep import Sweep, open_sweep

EVERY_DEVICE = "all"
MAX_QUEUED_JOBS = 500
"""So many jobs are queued at most: an array ends at 1,000 by default, and others wait, too."""
LOCK_STALE_SECONDS = 300.0
"""Silence after which a launcher on another machine is believed dead: sbatch can be slow."""
QUEUE_AGE_SECONDS = 5.0
"""Who cancels all jobs and runs the sweep again wants new ones, and not those of a minute ago."""


@dataclass(frozen=True)
class SupervisorTask:
    """What a job runs: a supervisor on a sweep's folder.

    Attributes:
        folder: the sweep's.
        token: the job's.
        devices: `CUDA_VISIBLE_DEVICES` as it was at submission, for a local job, which submitit
            would let see no GPU; None leaves it to the scheduler.
    """

    folder: Path
    token: str
    devices: str | None

    def __call__(self) -> None:
        """Run the job."""
        if self.devices is not None:
            os.environ.pop("CUDA_VISIBLE_DEVICES", None)
            if self.devices != EVERY_DEVICE:
                os.environ["CUDA_VISIBLE_DEVICES"] = self.devices
        paths = SweepPaths(self.folder)
        Supervisor(open_sweep(paths), paths.job(self.token)).run()


def required_jobs(cluster: Cluster, trials_left: int) -> int:
    """How many jobs are to run or wait while so many trials have not ended."""
    if not cluster.trials_per_job or cluster.scheduler == "local":
        return cluster.jobs
    workers, _ = workers_and_threads(cluster)
    trials_a_job = cluster.trials_per_job * workers
    return min(MAX_QUEUED_JOBS, max(1, -(-trials_left // trials_a_job)))


def submit_missing(sweep: Sweep) -> list[str]:
    """Bring the number of jobs that run or wait up to what the cluster's file says.

    Returns:
        The scheduler's numbers of the jobs sent now; empty where nothing was missing.

    Raises:
        InputError: the scheduler refused what the cluster file asks for.
        EnvironmentFailure: it took no job for another reason.
    """
    if sweep.plan.cluster.scheduler != "local":
        return submit_missing_here(sweep)
    # What submitit starts on this machine inherits the session of whoever submits: Ctrl-C or a
    # closed terminal would end the sweep with its watcher, and `make sweep | tee log` would hang.
    command = [sys.executable, "-m", "sweeps", "submit", str(sweep.paths.folder)]
    make_private(sweep.paths.scheduler_logs)
    with tempfile.TemporaryFile() as answer, sweep.paths.submission_log.open("ab") as log:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=answer, stderr=log, start_new_session=True
        )
        if process.wait():
            raise EnvironmentFailure(
                f"no job could be started here; {sweep.paths.submission_log} says why"
            )
        answer.seek(0)
        return list(json.loads(answer.read()))


def submit_missing_here(sweep: Sweep) -> list[str]:
    """The same, by this process. Two at once take turns, and none doubles what the other sent.

    Raises:
        InputError: the scheduler refused what the cluster file asks for.
        EnvironmentFailure: it took no job for another reason, or did not answer for long.
    """
    give_up = time.monotonic() + RETRY_SECONDS
    while True:
        try:
            return _submit_missing_once(sweep)
        except SlurmUnavailableError:
            if time.monotonic() > give_up:
                raise
            time.sleep(PAUSE_SECONDS)


def _submit_missing_once(sweep: Sweep) -> list[str]:
    with Lock(sweep.paths.lock("launch"), stale_after=LOCK_STALE_SECONDS).hold() as turn:
        if sweep.plan.cluster.scheduler == "slurm":
            _cancel_unrecorded_jobs(sweep.paths)
        active = active_jobs(sweep.paths, max_age=QUEUE_AGE_SECONDS)
        missing = required_jobs(sweep.plan.cluster, sweep.progress().left) - len(active)
        turn.check()
        return _submit_or_fewer(sweep, missing) if missing > 0 else []


def _cancel_unrecorded_jobs(paths: SweepPaths) -> None:
    """Cancel jobs whose launcher was killed after sbatch: they lack what they are to run.

    A job's comment tells of which submission it is, and its place in the array which of that
    submission's jobs.
    """
    drafts = {job.token: job for job in paths.unrecorded_jobs() if not job.ended.exists()}
    if not drafts:
        return
    entries = read_queue(paths, since=file_server_time(paths.slurm)).entries.values()
    lost = [e.id for e in entries if _token(e.comment, e.id.partition("_")[2]) in drafts]
    if lost:
        run_when_allowed(paths.slurm, "scancel", *lost)
    for job in drafts.values():
        job.ended.touch()


def _token(submission: str, place: int | str) -> str:
    """The name of one job of a submission."""
    return f"{submission}-{place or 0}"


def _submit_or_fewer(sweep: Sweep, count: int) -> list[str]:
    """Send so many jobs; half as many, and half of these, where a user may not have so many."""
    try:
        return _submit(sweep, count)
    except TooManyJobsError:
        if count > 1:
            return _submit_or_fewer(sweep, count // 2)
        if active_jobs(sweep.paths):  # they requeue themselves
            return []
        raise


def _submit(sweep: Sweep, count: int) -> list[str]:
    cluster = sweep.plan.cluster
    local = cluster.scheduler == "local"
    devices = os.environ.get("CUDA_VISIBLE_DEVICES", EVERY_DEVICE) if local else None
    submission = f"{time.strftime('%Y%m%d-%H%M%S')}-{uuid.uuid4().hex[:6]}"
    jobs = [sweep.paths.job(_token(submission, place)) for place in range(count)]
    for job in jobs:
        job.folder.mkdir(parents=True)
    tasks = [SupervisorTask(sweep.paths.folder, job.token, devices) for job in jobs]
    try:
        records = submit_tasks(sweep.paths, cluster, submission, tasks)
    except SlurmUnavailableError:
        raise  # some may have been sent: the next launcher finds out
    except (InputError, EnvironmentFailure):
        for job in jobs:  # none of them was taken
            job.folder.rmdir()
        raise
    for job, record in zip(jobs, records, strict=True):
        write_job_record(job.submitted, record)
    return [record.id for record in records]
