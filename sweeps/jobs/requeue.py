"""Requeueing: a job puts itself back into SLURM's queue while trials are left.

A sweep can take longer than the time limit of a job. A requeued job keeps its job id, so nobody has
to watch the sweep or to know how many jobs it needs. SLURM itself requeues a job after a
pre-emption or the loss of a node. A cancelled job is not requeued.
"""

import os
import shlex
import shutil
import time

from sweeps.config.cluster import workers_and_threads
from sweeps.errors import EnvironmentFailure
from sweeps.filesystem import atomic
from sweeps.jobs.job_status import active_jobs
from sweeps.jobs.slurm.commands import Patience, SlurmUnavailableError, run_command
from sweeps.jobs.slurm.identity import is_entry_of, viewpoint
from sweeps.jobs.slurm.queue import Queue, read_queue
from sweeps.jobs.slurm.rate_limit import file_server_time
from sweeps.storage.job_record import read_job_record
from sweeps.storage.paths import JobPaths, SweepPaths
from sweeps.storage.sweep import Sweep

_VARIABLE = "SWEEPS_SCRIPT_REQUEUES"
"""Set in a job whose script requeues it."""
_SCRIPT_ATTEMPTS, _SCRIPT_PAUSE_SECONDS = 20, 31
"""How often the script of a job tries to requeue it, and the pause after each attempt."""
PAUSE_SECONDS = 5.0
"""The pause between two questions of a job that SLURM is ending."""


def job_id() -> str:
    """Return the id under which SLURM lists this job; empty outside of a job.

    `SLURM_JOB_ID` is not used for a task of an array: the last task has the array's id there, and
    a command with that id applies to every task.
    """
    array = os.environ.get("SLURM_ARRAY_JOB_ID")
    task = os.environ.get("SLURM_ARRAY_TASK_ID")
    return f"{array}_{task}" if array else os.environ.get("SLURM_JOB_ID", "")


def is_running(
    paths: SweepPaths, job: JobPaths, terminated_seconds_ago: float, ends_at: float
) -> bool:
    """Return whether SLURM lists this job as running after it sent the job SIGTERM.

    False means that SLURM cancels the job or has requeued it already. A pre-empted job with a grace
    time is still listed as running. If it ends by itself, SLURM does not start it again, so it must
    requeue itself. This function may wait for the rate limit; if the job's time runs out
    meanwhile, SLURM ends the job as planned. In a container that lacks SLURM's commands, True
    leaves the question to the job's script (`requeue_lines`).

    Args:
        paths: the sweep's paths.
        job: this job. Another one may have its number by now.
        terminated_seconds_ago: how many seconds ago the job received SIGTERM.
        ends_at: until when to ask again while SLURM does not answer, by the monotonic clock.
    """
    if _leaves_it_to_the_script("squeue"):
        return True
    try:
        queue = _queue_after_signal(paths, terminated_seconds_ago, ends_at)
    except EnvironmentFailure:
        return False
    entry = queue.entries.get(job_id())
    return entry is not None and entry.state == "RUNNING" and is_entry_of(entry, paths, job)


def _leaves_it_to_the_script(command: str) -> bool:
    """Return whether the job's script must do what this process cannot: it lacks the command."""
    return bool(os.environ.get(_VARIABLE)) and shutil.which(command) is None


def _queue_after_signal(paths: SweepPaths, seconds_ago: float, ends_at: float) -> Queue:
    """Return an answer of squeue from after the signal.

    Waiting does no harm: if SLURM cancels the job, it kills this process.
    """
    since = file_server_time(paths.slurm) - seconds_ago
    while True:
        try:
            return read_queue(paths, since=since)
        except SlurmUnavailableError:
            if time.monotonic() > ends_at:
                raise
            time.sleep(PAUSE_SECONDS)


def waiting_jobs_suffice(sweep: Sweep, job: JobPaths) -> bool:
    """Return whether the jobs that have claimed no trial are enough for all unclaimed trials."""
    cluster = sweep.plan.cluster
    try:
        active, here = active_jobs(sweep.paths), viewpoint(sweep.paths)
        seen = [other for other in active if here.judges(other, read_job_record(other))]
        others = {other.token for other in seen} - {job.token}
    except EnvironmentFailure:
        return False
    unused = others - {
        atomic.read_json(attempt.claim)["job"]
        for trial in sweep.paths.trials()
        for attempt in trial.attempts()
    }
    workers, _ = workers_and_threads(cluster)
    return len(unused) * cluster.trials_per_job * workers >= sweep.unclaimed_trials()


def requeue(job: JobPaths, seconds: float) -> None:
    """Requeue this job; SLURM then ends its remaining processes.

    In a container that lacks SLURM's commands, the job's script does it when this process ends.

    Args:
        job: this job.
        seconds: for how many seconds to try again while SLURM cannot answer.

    Raises:
        EnvironmentFailure: SLURM did not answer, or the site does not allow jobs to requeue.
    """
    if _leaves_it_to_the_script("scontrol"):
        job.requeue.touch()
        return
    run_command("scontrol", "requeue", job_id(), patience=Patience(seconds, seconds))


def requeue_lines(paths: SweepPaths, submission: str) -> list[str]:
    """Return the shell lines with which a job's script requeues the job if its task asks for it.

    The script asks SLURM first whether the job runs, since a cancelled job must not be requeued.
    While SLURM does not answer, it tries again for some minutes.

    Args:
        paths: the sweep's paths.
        submission: the comment of the job's submission, the beginning of the job's token.
    """
    index = "${SLURM_ARRAY_TASK_ID:-0}"
    file = f"{shlex.quote(str(paths.job(submission).folder))}-{index}/{paths.job('x').requeue.name}"
    number = "${SLURM_ARRAY_JOB_ID:-$SLURM_JOB_ID}${SLURM_ARRAY_TASK_ID:+_$SLURM_ARRAY_TASK_ID}"
    return [
        f"export {_VARIABLE}=1",
        f"rm -f {file}",
        "requeue_if_asked() {",
        f"  test -e {file} || return 0",
        f"  for attempt in $(seq {_SCRIPT_ATTEMPTS}); do",
        f'    if state=$(squeue --noheader --jobs="{number}" --format=%T); then',
        '      echo "$state" | grep --quiet --line-regexp RUNNING || return 0',
        f'      scontrol requeue "{number}" && return 0',
        "    fi",
        f"    sleep {_SCRIPT_PAUSE_SECONDS}",
        "  done",
        "}",
        "trap requeue_if_asked EXIT",
    ]
