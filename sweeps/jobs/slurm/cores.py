"""The cores that a job has, beside those that its cluster file requests."""

import json
import os
from collections.abc import Iterator

from sweeps.config.cluster import Cluster
from sweeps.errors import EnvironmentFailure
from sweeps.filesystem import atomic
from sweeps.storage.job_record import read_job_record
from sweeps.storage.paths import JobPaths, SweepPaths


def check_cores(cluster: Cluster, job: JobPaths) -> None:
    """Record and print it if SLURM has bound the job to fewer cores than it was promised.

    The job works all the same, but its workers share a core and need several times as long. So a
    person must hear of it.
    """
    job.fewer_cores.unlink(missing_ok=True)  # SLURM may have started the job on another node
    if cluster.scheduler != "slurm" or not hasattr(os, "sched_getaffinity"):
        return
    found = len(os.sched_getaffinity(0))
    if found < cluster.cpus:
        content = _content(cluster, found)
        atomic.write(job.fewer_cores, json.dumps(content))
        print(_sentence("this job", content), flush=True)


def check_core_count(cluster: Cluster) -> str:
    """Return how many cores this job may use.

    Raises:
        EnvironmentFailure: there are fewer than it was promised.
    """
    if not hasattr(os, "sched_getaffinity"):
        return "not known on this system"
    found = len(os.sched_getaffinity(0))
    if found < cluster.cpus:
        raise EnvironmentFailure(_sentence("this job", _content(cluster, found)))
    return f"{found}, and {cluster.cpus} requested"


def fewer_cores_lines(paths: SweepPaths) -> Iterator[str]:
    """Yield a line for each open job that has fewer cores than it was promised."""
    for job in paths.jobs():
        content = None if job.ended.exists() else atomic.read_json(job.fewer_cores)
        if content is not None:
            yield _sentence(f"job {read_job_record(job).id}", content)


def _content(cluster: Cluster, found: int) -> dict[str, int]:
    return {"found": found, "requested": cluster.cpus}


def _sentence(job: str, content: dict[str, int]) -> str:
    return (
        f"{job} may use {content['found']} of the {content['requested']} cores that it requests, "
        "so it is slower; ask the site's staff how a job step gets all cores of its job"
    )
