"""Nodes without the GPU that a job requested: the job fails at once, and others avoid the node."""

import json
import os
import shutil
import subprocess
import time

from sweeps.errors import EnvironmentFailure
from sweeps.filesystem import atomic
from sweeps.filesystem.process import hostname
from sweeps.jobs.slurm.identity import listed, viewpoint
from sweeps.jobs.slurm.queue import read_queue
from sweeps.jobs.slurm.rate_limit import run_when_allowed
from sweeps.storage.job_record import open_jobs
from sweeps.storage.paths import JobPaths, SweepPaths
from sweeps.storage.sweep import Sweep

EXCLUDE_SECONDS = 86400.0
"""How long jobs avoid a node without its GPU; after that it may have been repaired."""
_NVIDIA_SMI_SECONDS = 60


def check_gpu(sweep: Sweep, job: JobPaths) -> None:
    """Check that the job has the GPU that its cluster file requests.

    Raises:
        EnvironmentFailure: there is no GPU. The node was recorded, so that the next submission
            excludes it, and the sweep's pending jobs were changed to avoid it.
    """
    cluster = sweep.plan.cluster
    if (
        cluster.scheduler != "slurm"
        or not cluster.gpus
        or (reason := _missing_gpu_reason()) is None
    ):
        return
    node = os.environ.get("SLURMD_NODENAME") or hostname()
    atomic.write(job.bad_node, json.dumps({"node": node, "reason": reason, "time": time.time()}))
    job.ended.touch()
    try:
        _exclude_from_pending_jobs(sweep)
    except EnvironmentFailure as error:
        print(f"pending jobs may still start on {node}: {error}", flush=True)
    raise EnvironmentFailure(f"{node}: the cluster file requests a GPU, but {reason}")


def bad_nodes(paths: SweepPaths) -> list[str]:
    """Return the nodes that had no GPU for a job of this sweep in the last EXCLUDE_SECONDS."""
    found = [atomic.read_json(job.bad_node) for job in paths.jobs()]
    return sorted({f["node"] for f in found if f and time.time() - f["time"] < EXCLUDE_SECONDS})


def excluded_nodes(paths: SweepPaths, in_file: str | None) -> str | None:
    """Return the nodes to exclude, in the format of `sbatch --exclude`; None if there are none.

    Args:
        paths: the sweep's paths.
        in_file: the nodes that the cluster file excludes.
    """
    return ",".join([*([in_file] if in_file else []), *bad_nodes(paths)]) or None


def _missing_gpu_reason() -> str | None:
    """Return why no GPU can be used; None if nothing is missing."""
    if not os.environ.get("CUDA_VISIBLE_DEVICES"):
        return "SLURM gave the job no GPU; check gres in the cluster file"
    if shutil.which("nvidia-smi") is None:  # not a failure: the trainer checks the device
        return None
    try:
        answer = subprocess.run(
            ["nvidia-smi", "-L"],
            capture_output=True,
            encoding="utf-8",
            errors="backslashreplace",
            timeout=_NVIDIA_SMI_SECONDS,
            check=False,
        )
    except (OSError, subprocess.SubprocessError) as error:
        return f"nvidia-smi does not answer: {error}"
    if "GPU " in answer.stdout:
        return None
    return f"nvidia-smi lists no GPU: {' '.join((answer.stdout + answer.stderr).split())}"


def _exclude_from_pending_jobs(sweep: Sweep) -> None:
    queue, here = read_queue(sweep.paths), viewpoint(sweep.paths)
    pending = []
    for job, record in open_jobs(sweep.paths).items():
        if record.id and here.judges(job, record):
            entry = listed(queue, sweep.paths, job, record)
            too_new = record.id not in queue.entries and not job.started.exists()
            if too_new if entry is None else entry.is_pending:
                pending.append(record.id)
    nodes = excluded_nodes(sweep.paths, sweep.plan.cluster.exclude)
    if pending:
        which = f"JobId={','.join(pending)}"
        run_when_allowed(sweep.paths.slurm, "scontrol", "update", which, f"ExcNodeList={nodes}")
