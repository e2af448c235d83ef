"""The record of a job, written at its submission and by the job itself when it starts."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from sweeps.filesystem import atomic
from sweeps.filesystem.process import Process
from sweeps.storage.paths import JobPaths, SweepPaths


@dataclass(frozen=True)
class JobRecord:
    """A job, as recorded at its submission or at its start.

    Attributes:
        id: the job's id at the scheduler; empty if it has none.
        scheduler: where the job was submitted: `local` or `slurm`.
        process: the process that runs it; None if only the scheduler knows that.
        cluster: the ClusterName of the SLURM that has it; empty if not known, or not in SLURM.
    """

    id: str
    scheduler: str
    process: Process | None
    cluster: str = ""


def write_job_record(path: Path, record: JobRecord) -> None:
    """Write a record to `JobPaths.submitted` or `JobPaths.started`."""
    atomic.write(path, json.dumps(asdict(record)))


def read_submitted(job: JobPaths) -> JobRecord | None:
    """Return the record of the job's submission; None if there is none."""
    return _read(job.submitted)


def read_started(job: JobPaths) -> JobRecord | None:
    """Return the record that the job wrote when it started; None if it has not started."""
    return _read(job.started)


def read_job_record(job: JobPaths) -> JobRecord:
    """Return the record of the submission, otherwise the one of the start.

    Where only the job itself knew the cluster's name, the name is the one it wrote.
    """
    submitted, started = read_submitted(job), read_started(job)
    if submitted is None or started is None:
        return submitted or started or JobRecord("", "", None)
    return replace(submitted, cluster=submitted.cluster or started.cluster)


def open_jobs(paths: SweepPaths) -> Mapping[JobPaths, JobRecord]:
    """Return the record of each job that has not ended its work."""
    return {job: read_job_record(job) for job in paths.jobs() if not job.ended.exists()}


def _read(path: Path) -> JobRecord | None:
    content: dict[str, Any] | None = atomic.read_json(path)
    if content is None:
        return None
    process = content["process"]
    return JobRecord(
        content["id"],
        content["scheduler"],
        None if process is None else Process.from_json(process),
        content.get("cluster", ""),
    )
