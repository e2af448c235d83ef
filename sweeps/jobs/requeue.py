"""A sweep is longer than any job: how a job puts itself back into the queue for what is left.

It keeps its own number, so a sweep needs neither a watcher nor a guess of how many jobs it will
take. SLURM does the same after a pre-emption or the loss of a node; a job that somebody cancelled
stays away.
"""

import os

from sweeps.config.cluster import workers_and_threads
from sweeps.errors import EnvironmentFailure
from sweeps.filesystem import atomic
from sweeps.jobs.slurm.commands import run_command
from sweeps.jobs.slurm.queue import read_queue
from sweeps.jobs.slurm.rate_limit import file_server_time
from sweeps.jobs.status import active_jobs
from sweeps.storage.paths import JobPaths, SweepPaths
from sweeps.storage.sweep import Sweep


def job_id() -> str:
    """The number by which SLURM lists this job; empty outside of one.

    Not `SLURM_JOB_ID`: an array's last task has the array's own number there, and a command with
    that number is about every task.
    """
    array = os.environ.get("SLURM_ARRAY_JOB_ID")
    task = os.environ.get("SLURM_ARRAY_TASK_ID")
    return f"{array}_{task}" if array else os.environ.get("SLURM_JOB_ID", "")


def is_running(paths: SweepPaths, terminated_seconds_ago: float) -> bool:
    """Whether SLURM still lets this job run: not where it cancels it, or has requeued it already.

    A pre-empted job that was given some time runs on, and is gone if it ends by itself. Where this
    has to wait until SLURM may be asked, the job's time runs out as SLURM meant it to.

    Args:
        paths: of the sweep.
        terminated_seconds_ago: how many seconds ago the job was told to end.
    """
    try:
        queue = read_queue(paths, since=file_server_time(paths.slurm) - terminated_seconds_ago)
    except EnvironmentFailure:
        return False
    entry = queue.entries.get(job_id())
    return entry is not None and entry.state == "RUNNING"


def waiting_jobs_suffice(sweep: Sweep, job: JobPaths) -> bool:
    """Whether jobs that have not claimed a trial yet are enough for all trials that are left."""
    cluster = sweep.plan.cluster
    try:
        others = {other.token for other in active_jobs(sweep.paths)} - {job.token}
    except EnvironmentFailure:
        return False
    unused = others - {
        atomic.read_json(attempt.claim)["job"]
        for trial in sweep.paths.trials()
        for attempt in trial.attempts()
    }
    workers, _ = workers_and_threads(cluster)
    return len(unused) * cluster.trials_per_job * workers >= sweep.unclaimed_trials()


def requeue(patience: float) -> None:
    """Put this job back into the queue; SLURM ends what is left of it.

    Args:
        patience: seconds to go on asking while SLURM does not answer.

    Raises:
        EnvironmentFailure: SLURM did not answer, or the site forbids it.
    """
    run_command("scontrol", "requeue", job_id(), patience=patience)
