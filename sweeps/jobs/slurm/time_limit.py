"""A sweep is longer than any job: when SLURM ends one, and how one comes back for what is left.

A job whose time is up puts itself back into the queue under its own number, so a sweep needs
neither a watcher nor a guess of how many jobs it will take. SLURM does the same after a
pre-emption or the loss of a node; a job that somebody cancelled stays away.
"""

import os
import time

from sweeps.config.cluster import Cluster, crew, minutes
from sweeps.errors import WorldError
from sweeps.filesystem import atomic as files
from sweeps.jobs.slurm.commands import ask
from sweeps.jobs.slurm.queue import look
from sweeps.jobs.slurm.rate_limit import now
from sweeps.jobs.status import jobs_alive
from sweeps.storage.paths import JobPaths, SweepPaths
from sweeps.storage.sweep import Sweep
from sweeps.storage.trial_record import read_curve, state_of
from sweeps.workers.claims import owner_of

END = "SWEEPS_JOB_END"


def job_number() -> str:
    """The number that SLURM lists this job under; empty outside of one.

    Not `SLURM_JOB_ID`: an array's last task has the array's own number there, and a command given
    that is about every task.
    """
    array = os.environ.get("SLURM_ARRAY_JOB_ID")
    task = os.environ.get("SLURM_ARRAY_TASK_ID")
    return f"{array}_{task}" if array else os.environ.get("SLURM_JOB_ID", "")


def note_of_the_end(cluster: Cluster) -> str:
    """The line of shell by which a job notes at its start when SLURM will end it."""
    return f"export {END}=$(($(date +%s) + {60 * minutes(cluster.time_limit)}))"


def seconds_left(cluster: Cluster) -> float:
    """How long this job may still run, by what SLURM or its first line wrote down at its start."""
    in_file = minutes(cluster.time_limit) * 60.0
    if cluster.scheduler != "slurm":
        return in_file
    for name in ("SLURM_JOB_END_TIME", END):  # the first is there from SLURM 23.02 on
        if (end := os.environ.get(name, "")).isdigit():
            return float(end) - time.time()
    return in_file


def progress(sweep: Sweep) -> int:
    """A figure that grows with every epoch and every trial that ended."""
    trials = sweep.paths.trials()
    return sum(len(read_curve(trial)) + trial.settled.exists() for trial in trials)


def trials_left(sweep: Sweep) -> int:
    """How many trials have not ended, those included that nobody has asked for."""
    trials = sweep.paths.trials()
    ended = sum(trial.settled.exists() and state_of(trial).counts for trial in trials)
    return max(0, sweep.experiment.trials - ended)


def work_left(sweep: Sweep) -> int:
    """How many trials there are to ask for, or to go on with, that nobody has."""
    if sweep.is_stopped() or sweep.is_over():
        return 0
    trials = sweep.paths.trials()
    lasts = [trial.attempts()[-1] for trial in trials if not trial.settled.exists()]
    given_up = sum(last.released.exists() or owner_of(last).is_gone() for last in lasts)
    if sweep.paths.exhausted.exists():
        return given_up
    counted = sum(state_of(trial).counts for trial in trials)
    return given_up + max(0, sweep.experiment.trials - counted)


def others_will_do(sweep: Sweep, job: JobPaths) -> bool:
    """Whether jobs of so many trials each, that have not taken any yet, are enough for the rest."""
    cluster = sweep.plan.cluster
    try:
        others = {other.token for other in jobs_alive(sweep.paths)} - {job.token}
    except WorldError:
        return False
    fresh = others - {
        files.read_json(attempt.claim)["job"]
        for trial in sweep.paths.trials()
        for attempt in trial.attempts()
    }
    return len(fresh) * cluster.trials_per_job * crew(cluster)[0] >= work_left(sweep)


def is_running(paths: SweepPaths, told: float) -> bool:
    """Whether SLURM still lets this job run: not where it cancels it, or has put it back already.

    A pre-empted job that was given some time runs on, and is gone if it ends by itself. Where this
    has to wait until SLURM may be asked, the job's time runs out as SLURM meant it to.

    Args:
        paths: of the sweep.
        told: how many seconds ago the job was told to end.
    """
    try:
        queue = look(paths, since=now(paths.slurm) - told)
    except WorldError:
        return False
    entry = queue.entries.get(job_number())
    return entry is not None and entry.state == "RUNNING"


def come_back(patience: float) -> None:
    """Put this job back into the queue; SLURM ends what is left of it.

    Raises:
        WorldError: SLURM did not answer, or the site forbids it.
    """
    ask("scontrol", "requeue", job_number(), patience=patience)
