"""Which of SLURM's jobs is a sweep's: its number alone does not say it.

Numbers begin again at 1 when a controller has lost its state, and after the largest one. So a job
must also have the comment of its submission. Some sites rewrite comments, and accounting mostly
keeps none: there the job's name and the time of its submission decide.
"""

import os
import pwd
import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from sweeps.jobs.slurm.answers import QueueEntry
from sweeps.jobs.slurm.queue import Queue
from sweeps.jobs.slurm.site_name import cluster_name
from sweeps.storage.job_record import JobRecord
from sweeps.storage.paths import JobPaths, SweepPaths

CLOCK_SECONDS = 600.0
"""By how much the clocks of SLURM and of the file server may differ."""
_SUBMISSION = re.compile(r"\d{8}-\d{6}-[0-9a-f]{6}")


@dataclass(frozen=True)
class Viewpoint:
    """From where SLURM is asked: only jobs that were submitted from there can be judged.

    Attributes:
        cluster: the cluster that SLURM's commands ask here; empty if its name is not known.
        user_id: the user's number, as the file server shows it.
    """

    cluster: str
    user_id: int

    def judges(self, job: JobPaths, record: JobRecord) -> bool:
        """Return whether an answer of SLURM says whether this job runs or is pending."""
        return not self._is_elsewhere(record) and owner(job.folder) == self.user_id

    def why_not(self, job: JobPaths, record: JobRecord) -> str:
        """Explain where the state of a job that is not judged here can be seen."""
        name = _user_name(owner(job.folder))
        if not self._is_elsewhere(record):
            return f"submitted by {name}; only {name} can see its state"
        where = f"sent to cluster {record.cluster}, and this is cluster {self.cluster}"
        folders = f"{shlex.quote(str(job.folder.parent))}/{submission_of(job)}-*"
        return f"{where}; ask there. If that cluster is gone for good: rm -r {folders}"

    def _is_elsewhere(self, record: JobRecord) -> bool:
        return bool(self.cluster and record.cluster and record.cluster.lower() != self.cluster)


def viewpoint(paths: SweepPaths) -> Viewpoint:
    """Return from where this process asks SLURM."""
    folder = paths.slurm.folder
    # A file server may show this user's files under another number: compare what it shows.
    user_id = owner(folder) if folder.is_dir() else os.getuid()
    return Viewpoint(cluster_name(paths.slurm), user_id)


def split_by_viewpoint(
    paths: SweepPaths, records: Mapping[JobPaths, JobRecord]
) -> tuple[dict[JobPaths, JobRecord], dict[JobPaths, JobRecord]]:
    """Return the jobs in SLURM that can be judged here, and those that cannot."""
    in_slurm = {job: record for job, record in records.items() if record.scheduler == "slurm"}
    here = viewpoint(paths) if in_slurm else None
    judged = {job: r for job, r in in_slurm.items() if here is not None and here.judges(job, r)}
    return judged, {job: r for job, r in in_slurm.items() if job not in judged}


def job_name(paths: SweepPaths) -> str:
    """Return the name that all jobs of a sweep have in SLURM."""
    return f"sweep-{paths.name}"


def submission_of(job: JobPaths) -> str:
    """Return the submission of a job, which is its comment in SLURM."""
    return job.token.rpartition("-")[0]


def index_of(job: JobPaths) -> str:
    """Return the index of a job in its submission, which is its index in SLURM's array."""
    return job.token.rpartition("-")[2]


def listed(queue: Queue, paths: SweepPaths, job: JobPaths, record: JobRecord) -> QueueEntry | None:
    """Return what SLURM says of a job that runs or is pending; None if it lists no such job."""
    entry = queue.entries.get(record.id)
    return entry if entry is not None and is_entry_of(entry, paths, job) else None


def ended(queue: Queue, paths: SweepPaths, job: JobPaths, record: JobRecord) -> QueueEntry | None:
    """Return what SLURM says of a job that has just ended; None if it does not know it.

    Tasks of an array that never started are one job for SLURM once they are cancelled.
    """
    for number in (record.id, record.id.partition("_")[0]):
        entry = queue.ended.get(number)
        if entry is not None and is_entry_of(entry, paths, job):
            return entry
    return None


def is_entry_of(entry: QueueEntry, paths: SweepPaths, job: JobPaths) -> bool:
    """Return whether SLURM's job of the same number is this job of the sweep."""
    if is_of_submission(entry, submission_of(job)):
        return True
    if has_submission(entry):  # another one
        return False
    if entry.name != job_name(paths):
        return False
    return entry.submitted_at is None or entry.submitted_at - CLOCK_SECONDS <= _last_seen(job)


def is_of_submission(entry: QueueEntry, submission: str) -> bool:
    """Return whether a job has the comment of a submission; a site may have added to it."""
    return bool(submission) and submission in entry.comment


def has_submission(entry: QueueEntry) -> bool:
    """Return whether a job's comment has the form of a submission, of any sweep."""
    return _SUBMISSION.search(entry.comment) is not None


def owner(path: Path) -> int:
    """Return the number of the user to whom a file or folder belongs."""
    return path.stat().st_uid


def _user_name(user_id: int) -> str:
    try:
        return pwd.getpwuid(user_id).pw_name
    except KeyError:
        return f"user {user_id}"


def _last_seen(job: JobPaths) -> float:
    """Return when the job certainly had its number: at its submission, or while it last ran.

    A number has one job at a time. A job of the same number that was submitted later is another
    one; SLURM changes the time when it requeues a job, but that is before its next run.
    """
    found = [file for file in (job.submitted, job.started) if file.exists()]
    return max((file.stat().st_mtime for file in found), default=0.0)
