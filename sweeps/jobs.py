"""Which of a sweep's jobs run or wait, by asking the machine or SLURM."""

import subprocess

from sweeps import files
from sweeps.cluster import Cluster
from sweeps.errors import WorldError
from sweeps.machine import Process
from sweeps.paths import JobPaths, SweepPaths


def jobs_alive(paths: SweepPaths, cluster: Cluster) -> list[JobPaths]:
    """The sweep's jobs that run or wait."""
    pending = [job for job in paths.jobs() if not job.ended.exists()]
    if cluster.scheduler == "local":
        return [job for job in pending if _runs_here(job)]
    queued = _queued() if pending else set()
    return [job for job in pending if files.read_json(job.submitted)["id"] in queued]


def _runs_here(job: JobPaths) -> bool:
    """Whether a local job's processes are there."""
    known = (files.read_json(job.started), files.read_json(job.submitted)["process"])
    return any(Process.from_json(process).is_here() for process in known if process)


def _queued() -> set[str]:
    """The numbers of this user's jobs that SLURM runs or keeps waiting."""
    command = ["squeue", "--me", "--noheader", "--array", "--format=%i"]
    answer = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    if answer.returncode:
        raise WorldError(f"squeue does not answer: {' '.join(answer.stderr.split())}")
    return set(answer.stdout.split())
