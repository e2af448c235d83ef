"""Sending jobs to a scheduler: all that is asked of submitit, and the only module that knows it.

Without SLURM the same jobs go through submitit's local executor, so that what a laptop runs is
what a cluster runs.
"""

import json
import os
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import submitit
from submitit.helpers import DelayedSubmission

from sweeps import files
from sweeps.cluster import Cluster, minutes
from sweeps.errors import WorldError
from sweeps.jobs import jobs_alive
from sweeps.lock import Lock
from sweeps.machine import Process
from sweeps.paths import SweepPaths
from sweeps.supervisor import Supervisor
from sweeps.sweep import Sweep, open_sweep

SIGNAL_SECONDS = 90
"""How long before its end SLURM warns a job."""


@dataclass(frozen=True)
class Task:
    """What submitit pickles and runs: a supervisor on a sweep's folder."""

    folder: Path
    token: str

    def __call__(self) -> None:
        """Run the job."""
        paths = SweepPaths(self.folder)
        Supervisor(open_sweep(paths), paths.job(self.token)).run()

    def checkpoint(self) -> Any:
        """What submitit requeues after a signal: the same again, for every trial continues."""
        return DelayedSubmission(self)


def submit_missing(sweep: Sweep) -> list[str]:
    """Bring the number of jobs that run or wait up to what the cluster's file says.

    Two launchers at once take turns, so that none doubles what the other sent.

    Returns:
        The scheduler's numbers of the jobs sent now; empty where nothing was missing.

    Raises:
        WorldError: the scheduler refused.
    """
    cluster = sweep.plan.cluster
    with Lock(sweep.paths.lock("launch"), stale_after=sweep.claim_seconds).hold():
        missing = cluster.jobs - len(jobs_alive(sweep.paths, cluster))
        return _submit(sweep, missing) if missing > 0 else []


def _submit(sweep: Sweep, count: int) -> list[str]:
    cluster = sweep.plan.cluster
    executor = _executor(sweep.paths, cluster)
    tokens = [f"{time.strftime('%Y%m%d-%H%M%S')}-{uuid.uuid4().hex[:6]}" for _ in range(count)]
    for token in tokens:
        sweep.paths.job(token).folder.mkdir(parents=True)
    tasks = [Task(sweep.paths.folder, token) for token in tokens]
    try:
        with _nothing_inherited(), executor.batch():
            jobs = [executor.submit(task) for task in tasks]
    except (submitit.core.utils.FailedJobError, subprocess.SubprocessError, OSError) as error:
        raise WorldError(
            f"the scheduler refused the job: {' '.join(str(error).split())}"
        ) from error
    for token, job in zip(tokens, jobs, strict=True):
        record = {"id": job.job_id, "scheduler": cluster.scheduler, "process": _process_of(job)}
        files.write(sweep.paths.job(token).submitted, json.dumps(record))
    return [job.job_id for job in jobs]


@contextmanager
def _nothing_inherited() -> Iterator[None]:
    """Keep this process's terminal and pipes from what it starts meanwhile.

    submitit's local processes would hold them as long as they run: `make sweep | tee log` would
    not end with the watcher, and closing the terminal would reach the sweep.
    """
    sys.stdout.flush()
    saved = [os.dup(number) for number in (0, 1, 2)]
    nothing = os.open(os.devnull, os.O_RDWR)
    try:
        for number in (0, 1, 2):
            os.dup2(nothing, number)
        yield
    finally:
        for number, original in enumerate(saved):
            os.dup2(original, number)
            os.close(original)
        os.close(nothing)


def _executor(paths: SweepPaths, cluster: Cluster) -> submitit.AutoExecutor:
    paths.scheduler_logs.mkdir(parents=True, exist_ok=True, mode=0o700)
    executor = submitit.AutoExecutor(folder=paths.scheduler_logs, cluster=cluster.scheduler)
    executor.update_parameters(
        name=f"sweep-{paths.name}",
        timeout_min=minutes(cluster.time_limit),
        nodes=1,
        tasks_per_node=1,
        cpus_per_task=cluster.cpus,
    )
    if cluster.scheduler == "slurm":
        executor.update_parameters(**_slurm_parameters(cluster))
    return executor


def _slurm_parameters(cluster: Cluster) -> dict[str, Any]:
    """SLURM's own settings. Memory is never asked for: some sites' nodes say they have 1 MB."""
    asked = {
        "slurm_partition": cluster.partition,
        "slurm_account": cluster.account,
        "slurm_qos": cluster.qos,
        "slurm_gres": cluster.gres,
        "slurm_constraint": cluster.constraint,
        "slurm_exclude": cluster.exclude,
        "slurm_setup": cluster.setup or None,
    }
    return {key: value for key, value in asked.items() if value is not None} | {
        "slurm_array_parallelism": cluster.at_once,
        "slurm_signal_delay_s": SIGNAL_SECONDS,
        "slurm_wckey": "",
    }


def _process_of(job: submitit.Job[Any]) -> dict[str, Any] | None:
    """The process that runs a local job; None for one that a scheduler has."""
    if not isinstance(job, submitit.LocalJob):
        return None
    return Process.of(int(job.job_id)).to_json()
