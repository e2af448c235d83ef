"""Nodes without the GPU that a job requested: the job fails at once, and others avoid the node."""

import json
import os
import shutil
import subprocess
import time

from sweeps.errors import EnvironmentFailure
from sweeps.filesystem import atomic
from sweeps.filesystem.process import hostname
from sweeps.jobs.gpu_variables import has_gpu_of_slurm
from sweeps.jobs.slurm.identity import listed, viewpoint
from sweeps.jobs.slurm.queue import read_queue
from sweeps.jobs.slurm.rate_limit import run_when_allowed
from sweeps.storage.job_record import open_jobs
from sweeps.storage.paths import JobPaths, SweepPaths
from sweeps.storage.sweep import Sweep

EXCLUDE_SECONDS = 86400.0
"""How long jobs avoid a node without its GPU; after that it may have been repaired."""
_LIST_SECONDS = 60
_LISTS = {("nvidia-smi", "-L"): "GPU ", ("rocm-smi", "--showid"): "GPU["}
"""The commands that list a node's GPUs, and what the line of a GPU contains."""


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
    if not has_gpu_of_slurm():
        return "SLURM gave the job no GPU; check gres in the cluster file"
    # Without any of the commands nothing is known, which is no failure: the trainer checks the
    # device. A node may have the commands of both makers.
    reasons = [
        _why_none_is_listed(command, line)
        for command, line in _LISTS.items()
        if shutil.which(command[0]) is not None
    ]
    return None if None in reasons else "; ".join(filter(None, reasons)) or None


def _why_none_is_listed(command: tuple[str, ...], line: str) -> str | None:
    """Return why a command does not list a GPU; None if it does."""
    try:
        answer = subprocess.run(
            command,
            capture_output=True,
            encoding="utf-8",
            errors="backslashreplace",
            timeout=_LIST_SECONDS,
            check=False,
        )
    except (OSError, subprocess.SubprocessError) as error:
        return f"{command[0]} does not answer: {error}"
    if line in answer.stdout:
        return None
    return f"{command[0]} lists no GPU: {' '.join((answer.stdout + answer.stderr).split())}"


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
