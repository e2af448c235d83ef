"""A sweep is longer than any job: when SLURM ends one, and how one comes back for what is left.

A job whose time is up puts itself back into the queue under its own number, so a sweep needs
neither a watcher nor a guess of how many jobs it will take. SLURM does the same after a
pre-emption or the loss of a node; a job that somebody cancelled stays away.
"""

import os
import time

from sweeps.config.cluster import Cluster, parse_minutes, workers_and_threads
from sweeps.errors import EnvironmentFailure
from sweeps.filesystem import atomic
from sweeps.jobs.slurm.commands import run_command
from sweeps.jobs.slurm.queue import read_queue
from sweeps.jobs.slurm.rate_limit import file_server_time
from sweeps.jobs.status import active_jobs
from sweeps.storage.paths import JobPaths, SweepPaths
from sweeps.storage.sweep import Sweep
from sweeps.storage.trial_record import read_curve, state_of
from sweeps.workers.claims import claim_owner

JOB_END_VARIABLE = "SWEEPS_JOB_END"


def job_id() -> str:
    """The number that SLURM lists this job under; empty outside of one.

    Not `SLURM_JOB_ID`: an array's last task has the array's own number there, and a command given
    that is about every task.
    """
    array = os.environ.get("SLURM_ARRAY_JOB_ID")
    task = os.environ.get("SLURM_ARRAY_TASK_ID")
    return f"{array}_{task}" if array else os.environ.get("SLURM_JOB_ID", "")


def export_job_end(cluster: Cluster) -> str:
    """The line of shell by which a job notes at its start when SLURM will end it."""
    return f"export {JOB_END_VARIABLE}=$(($(date +%s) + {60 * parse_minutes(cluster.time_limit)}))"


def seconds_left(cluster: Cluster) -> float:
    """How long this job may still run, by what SLURM or its first line wrote down at its start."""
    in_file = parse_minutes(cluster.time_limit) * 60.0
    if cluster.scheduler != "slurm":
        return in_file
    for name in ("SLURM_JOB_END_TIME", JOB_END_VARIABLE):  # the first is there from SLURM 23.02 on
        if (end := os.environ.get(name, "")).isdigit():
            return float(end) - time.time()
    return in_file


def progress_count(sweep: Sweep) -> int:
    """A figure that grows with every epoch and every trial that ended."""
    trials = sweep.paths.trials()
    return sum(len(read_curve(trial)) + trial.settled.exists() for trial in trials)


def trials_not_ended(sweep: Sweep) -> int:
    """How many trials have not ended, those included that nobody has asked for."""
    trials = sweep.paths.trials()
    ended = sum(trial.settled.exists() and state_of(trial).counts for trial in trials)
    return max(0, sweep.experiment.trials - ended)


def unclaimed_trials(sweep: Sweep) -> int:
    """How many trials there are to ask for, or to go on with, that nobody has."""
    if sweep.is_stopped() or sweep.is_over():
        return 0
    trials = sweep.paths.trials()
    lasts = [trial.attempts()[-1] for trial in trials if not trial.settled.exists()]
    given_up = sum(last.released.exists() or claim_owner(last).is_gone() for last in lasts)
    if sweep.paths.exhausted.exists():
        return given_up
    counted = sum(state_of(trial).counts for trial in trials)
    return given_up + max(0, sweep.experiment.trials - counted)


def waiting_jobs_suffice(sweep: Sweep, job: JobPaths) -> bool:
    """Whether jobs of so many trials each, that have not taken any yet, are enough for the rest."""
    cluster = sweep.plan.cluster
    try:
        others = {other.token for other in active_jobs(sweep.paths)} - {job.token}
    except EnvironmentFailure:
        return False
    fresh = others - {
        atomic.read_json(attempt.claim)["job"]
        for trial in sweep.paths.trials()
        for attempt in trial.attempts()
    }
    return len(fresh) * cluster.trials_per_job * workers_and_threads(cluster)[
        0
    ] >= unclaimed_trials(sweep)


def is_running(paths: SweepPaths, terminated_seconds_ago: float) -> bool:
    """Whether SLURM still lets this job run: not where it cancels it, or has put it back already.

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


def requeue(patience: float) -> None:
    """Put this job back into the queue; SLURM ends what is left of it.

    Raises:
        WorldError: SLURM did not answer, or the site forbids it.
    """
    run_command("scontrol", "requeue", job_id(), patience=patience)
