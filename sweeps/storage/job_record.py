"""The record of a job, written at its submission and by the job itself when it starts."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
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
    """

    id: str
    scheduler: str
    process: Process | None


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
    """Return the record of the submission, otherwise the one of the start."""
    return read_submitted(job) or read_started(job) or JobRecord("", "", None)


def open_jobs_by_id(paths: SweepPaths) -> Mapping[str, JobPaths]:
    """Return the jobs that have not ended their work, by their id at the scheduler.

    Ids are not unique over time: a job that has ended must not hide one with the same id.
    """
    return {read_job_record(job).id: job for job in paths.jobs() if not job.ended.exists()}


def _read(path: Path) -> JobRecord | None:
    content: dict[str, Any] | None = atomic.read_json(path)
    if content is None:
        return None
    process = content["process"]
    return JobRecord(
        content["id"], content["scheduler"], None if process is None else Process.from_json(process)
    )
