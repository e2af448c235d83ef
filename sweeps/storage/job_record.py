"""What is written down of a job: at its submission, and by the job itself as it starts."""

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
    """A job as its submission, or its own start, recorded it.

    Attributes:
        id: the scheduler's number; empty where it gave none.
        scheduler: to which the job was sent: `local` or `slurm`.
        process: what runs it; None where only the scheduler knows.
    """

    id: str
    scheduler: str
    process: Process | None


def write_job_record(path: Path, record: JobRecord) -> None:
    """Write a record to `submitted` or `started` of a job's paths."""
    atomic.write(path, json.dumps(asdict(record)))


def read_submitted(job: JobPaths) -> JobRecord | None:
    """What was recorded when the job was sent; None where nothing was."""
    return _read(job.submitted)


def read_started(job: JobPaths) -> JobRecord | None:
    """What the job recorded as it started; None where it has not."""
    return _read(job.started)


def read_job_record(job: JobPaths) -> JobRecord:
    """What was recorded at submission, or else by the job as it started."""
    return read_submitted(job) or read_started(job) or JobRecord("", "", None)


def jobs_by_id(paths: SweepPaths) -> Mapping[str, JobPaths]:
    """Every job that was sent or that started, by the scheduler's number."""
    return {read_job_record(job).id: job for job in paths.jobs()}


def _read(path: Path) -> JobRecord | None:
    content: dict[str, Any] | None = atomic.read_json(path)
    if content is None:
        return None
    process = content["process"]
    return JobRecord(
        content["id"], content["scheduler"], None if process is None else Process.from_json(process)
    )
