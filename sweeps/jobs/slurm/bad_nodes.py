"""A GPU that was promised and is not there: the job fails at once, and its node is left out."""

import json
import os
import shutil
import subprocess
import time

from sweeps.errors import EnvironmentFailure
from sweeps.filesystem import atomic
from sweeps.filesystem.process import hostname
from sweeps.jobs.slurm.queue import read_queue
from sweeps.jobs.slurm.rate_limit import run_when_allowed
from sweeps.storage.job_record import jobs_by_id
from sweeps.storage.paths import JobPaths, SweepPaths
from sweeps.storage.sweep import Sweep

EXCLUDE_SECONDS = 86400.0
"""How long a node without its GPU is left out: somebody may mend it."""
_NVIDIA_SMI_SECONDS = 60


def check_gpu(sweep: Sweep, job: JobPaths) -> None:
    """Nothing where the job has what its cluster file promises.

    Raises:
        WorldError: the GPU is not there. The node was written down for the next submission, and
            the sweep's jobs that wait were told to avoid it.
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
        print(f"jobs that wait may still be sent to {node}: {error}", flush=True)
    raise EnvironmentFailure(f"{node}: the cluster file promises a GPU, and {reason}")


def bad_nodes(paths: SweepPaths) -> list[str]:
    """Nodes that lately had no GPU for a job of this sweep."""
    found = [atomic.read_json(job.bad_node) for job in paths.jobs()]
    return sorted({f["node"] for f in found if f and time.time() - f["time"] < EXCLUDE_SECONDS})


def excluded_nodes(paths: SweepPaths, in_file: str | None) -> str | None:
    """The nodes to leave out, as SLURM wants them listed; None where there are none."""
    return ",".join([*([in_file] if in_file else []), *bad_nodes(paths)]) or None


def _missing_gpu_reason() -> str | None:
    """What is missing for computing on a GPU; None where nothing is."""
    if not os.environ.get("CUDA_VISIBLE_DEVICES"):
        return "SLURM gave none: see gres in the cluster file"
    if shutil.which("nvidia-smi") is None:  # nothing to ask; the trainer finds out
        return None
    try:
        seen = subprocess.run(
            ["nvidia-smi", "-L"],
            capture_output=True,
            text=True,
            timeout=_NVIDIA_SMI_SECONDS,
            check=False,
        )
    except (OSError, subprocess.SubprocessError) as error:
        return f"nvidia-smi does not answer: {error}"
    if "GPU " in seen.stdout:
        return None
    return f"nvidia-smi sees none: {' '.join((seen.stdout + seen.stderr).split())}"


def _exclude_from_pending_jobs(sweep: Sweep) -> None:
    queue = read_queue(sweep.paths).entries
    waiting = [
        number
        for number, job in jobs_by_id(sweep.paths).items()
        if (queue[number].is_pending if number in queue else not job.started.exists())
        and not job.ended.exists()
    ]
    nodes = excluded_nodes(sweep.paths, sweep.plan.cluster.exclude)
    if waiting:
        which = f"JobId={','.join(waiting)}"
        run_when_allowed(sweep.paths.slurm, "scontrol", "update", which, f"ExcNodeList={nodes}")
