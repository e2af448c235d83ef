"""What happens at a job's time limit, and how much of its time is kept for that.

Counted back from the moment at which SLURM ends the job:

    90 s  SLURM sends SIGUSR2 (`signal_seconds`). The supervisor tells its workers to leave: each
          finishes the epoch it is in, releases its trial, and exits.
    60 s  The workers' own deadline (`margin_seconds`), for a site that sends no signal. No epoch
          begins that would end after it: one is expected to take 1.1 times as long as the trial's
          longest so far (`EPOCH_TIME_MARGIN` in `sweeps/workers/trial.py`).
    10 s  The supervisor kills workers that still run (`REQUEUE_SECONDS`): only their unfinished
          epoch is lost. The publisher gets what time is left, a second at least, and is then
          killed, too; what it has not sent is sent later. A job with work left puts itself back
          into the queue (`sweeps/jobs/requeue.py`).

A short job keeps an eighth of its time for the first two, at most.
"""

import os
import time

from sweeps.config.cluster import Cluster, parse_minutes

JOB_END_VARIABLE = "SWEEPS_JOB_END"
SIGNAL_SECONDS = 90
"""How long before its end SLURM warns a job."""
MARGIN_SECONDS = 60.0
"""How long before the job's end the last epoch of a worker must have ended."""
REQUEUE_SECONDS = 10.0
"""How much of a job's time is kept for its requeue."""


def signal_seconds(cluster: Cluster) -> int:
    """Return how many seconds before its end SLURM must warn a job."""
    return round(min(SIGNAL_SECONDS, limit_seconds(cluster) / 8))


def margin_seconds(total: float) -> float:
    """Return how many seconds before the end of a job its last epoch must end.

    Args:
        total: the job's time limit, or the time left at its start, in seconds.
    """
    return min(MARGIN_SECONDS, total / 8)


def limit_seconds(cluster: Cluster) -> float:
    """Return how many seconds a job may run, by the cluster file."""
    return parse_minutes(cluster.time_limit) * 60.0


def export_job_end(cluster: Cluster) -> str:
    """Return the shell line with which a job records at its start when SLURM will end it."""
    return f"export {JOB_END_VARIABLE}=$(($(date +%s) + {round(limit_seconds(cluster))}))"


def seconds_left(cluster: Cluster) -> float:
    """Return how many seconds this job may still run, by what was recorded at its start."""
    if cluster.scheduler == "slurm":
        # SLURM itself sets the first one from version 23.02 on; `export_job_end` sets the second.
        for name in ("SLURM_JOB_END_TIME", JOB_END_VARIABLE):
            if (end := os.environ.get(name, "")).isdigit():
                return float(end) - time.time()
    return limit_seconds(cluster)
