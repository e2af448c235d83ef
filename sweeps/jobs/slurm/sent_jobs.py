"""The number of what sbatch has just accepted: from its answer, or else from the queue."""

from sweeps.errors import EnvironmentFailure
from sweeps.jobs.slurm.answers import QueueEntry, read_submission
from sweeps.jobs.slurm.commands import SlurmUnavailableError
from sweeps.jobs.slurm.identity import has_submission, is_of_submission, job_name
from sweeps.jobs.slurm.queue import read_queue
from sweeps.jobs.slurm.rate_limit import file_server_time
from sweeps.storage.paths import SweepPaths
from sweeps.text import one_line

CLOCK_SECONDS = 60.0
"""By how much the clocks of SLURM and of the file server may differ for jobs without a comment."""


def number_and_cluster(answer: str, paths: SweepPaths, submission: str) -> tuple[str, str]:
    """Return the number of a submission, without an index, and its cluster if sbatch named that.

    Args:
        answer: what sbatch printed.
        paths: the sweep's paths.
        submission: the comment of the submission.

    Raises:
        SlurmUnavailableError: the answer is not understood, and SLURM lists no such job, or does
            not answer. The jobs may be in the queue all the same.
    """
    if (found := read_submission(answer)) is not None:
        return found
    now = file_server_time(paths.slurm)
    unclear = f"sbatch's answer has no number of a job: {one_line(answer)!r}"
    try:
        entries = list(read_queue(paths, since=now).entries.values())
    except EnvironmentFailure as error:
        raise SlurmUnavailableError(f"{unclear}; {error}") from error
    sent = [entry for entry in entries if is_of_submission(entry, submission)]
    sent = sent or [entry for entry in entries if _may_be_sent(entry, paths, now)]
    numbers = {entry.id.partition("_")[0] for entry in sent}
    if len(numbers) != 1:
        raise SlurmUnavailableError(f"{unclear}; no job with comment {submission} is in the queue")
    return numbers.pop(), ""


def _may_be_sent(entry: QueueEntry, paths: SweepPaths, now: float) -> bool:
    """Return whether a job at a site that rewrites comments was sent just now."""
    sent_now = entry.submitted_at is not None and entry.submitted_at > now - CLOCK_SECONDS
    return sent_now and entry.name == job_name(paths) and not has_submission(entry)
