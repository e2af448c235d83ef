"""What happens before there are epochs to show, from facts on disk: a person waits, and for what.

Nothing of a sweep depends on it. Some of the files are there for this alone (`AttemptPaths.loaded`
and `training`); an attempt without them, of an earlier version, is at its first epoch.
"""

from sweeps.storage.job_record import read_started, read_submitted
from sweeps.storage.paths import AttemptPaths, JobPaths
from sweeps.storage.sweep import Sweep
from sweeps.storage.trial_record import has_epoch

LOADING_TRAINER = "loading the trainer"
LOADING_DATA = "loading data"
FIRST_EPOCH = "first epoch"


def trial_phase(attempt: AttemptPaths, epoch: int) -> str:
    """Return what a running attempt does before its first epoch has ended; empty afterwards.

    Args:
        attempt: the attempt of a worker that has the trial.
        epoch: the last finished epoch of the trial, of earlier attempts too; 0 for none.
    """
    if attempt.training.exists():
        if has_epoch(attempt) or epoch:
            return ""
        return FIRST_EPOCH
    if has_epoch(attempt):
        return ""
    return LOADING_DATA if attempt.loaded.exists() else LOADING_TRAINER


def sweep_phase(sweep: Sweep, *, over: bool, running: bool) -> str:
    """Return what a sweep's jobs do while no trial runs; empty if one does, or there is no job.

    Args:
        sweep: the sweep.
        over: whether every trial has ended.
        running: whether a worker has a trial.
    """
    if running:
        return ""
    jobs = [job for job in sweep.paths.jobs() if not job.ended.exists() and not _is_gone(job)]
    started = [job for job in jobs if read_started(job) is not None]
    in_queue = sweep.plan.cluster.scheduler == "slurm" and not started  # its own lines say so
    if in_queue or not jobs:
        return ""
    if over:
        return "every trial has ended; waiting until the last results are written to MLflow"
    if any(job.worker_logs() for job in started):
        return "workers start: they load the sampler and the trainer, and take a trial"
    return "the job runs and starts its workers" if started else "starting a job"


def _is_gone(job: JobPaths) -> bool:
    """Return whether the job's process has certainly ended; only SLURM knows that of its own."""
    record = read_started(job) or read_submitted(job)
    return record is None or (record.process is not None and record.process.is_gone())
