"""Submission of jobs through submitit, which only this module and `array_executor.py` use.

The keys of a cluster file become sbatch fields here. Without SLURM the same jobs run in
submitit's local executor, so a laptop runs the same code as a cluster.
"""

import os
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from contextlib import redirect_stderr
from io import StringIO
from pathlib import Path
from typing import Any

import submitit

from sweeps.config.cluster import Cluster, parse_minutes
from sweeps.errors import EnvironmentFailure, InputError
from sweeps.filesystem.process import Process
from sweeps.jobs.array_executor import ArrayExecutor
from sweeps.jobs.requeue import requeue_lines
from sweeps.jobs.slurm.bad_nodes import excluded_nodes
from sweeps.jobs.slurm.commands import error_of
from sweeps.jobs.slurm.error_messages import is_final, named_limit
from sweeps.jobs.slurm.identity import job_name
from sweeps.jobs.slurm.pending_reasons import describe_limit
from sweeps.jobs.slurm.sent_jobs import number_and_cluster
from sweeps.jobs.slurm.site_name import cluster_name
from sweeps.jobs.slurm.submission_environment import cleared_environment, with_site_defaults
from sweeps.jobs.slurm.time_limit import export_job_end, signal_seconds
from sweeps.storage.job_record import JobRecord
from sweeps.storage.paths import SweepPaths

Task = Callable[[], None]
"""The task that a job runs: a callable that can be pickled."""


class TooManyJobsError(EnvironmentFailure):
    """The site does not allow the user so many jobs that run or are pending."""


class ArrayTooLargeError(TooManyJobsError):
    """The site allows no array of so many jobs; several smaller ones are allowed."""


def submit_tasks(
    paths: SweepPaths, cluster: Cluster, submission: str, tasks: Sequence[Task]
) -> list[JobRecord]:
    """Submit one job for each task; on SLURM, all in one array.

    Args:
        paths: the sweep's paths; the scheduler's logs and submitit's files are written there.
        cluster: the cluster file: what each job requests.
        submission: the jobs' comment in SLURM, by which the jobs of this submission are found.
        tasks: one for each job.

    Returns:
        A record of each job, in the order of the tasks.

    Raises:
        InputError: the scheduler refused what the cluster file requests.
        TooManyJobsError: the user has as many jobs as the site allows.
        SlurmUnavailableError: SLURM did not answer; the jobs may have been submitted all the same.
        EnvironmentFailure: the scheduler refused the jobs for another reason.
    """
    try:
        executor = _executor(paths, cluster, submission)
        with cleared_environment(), redirect_stderr(StringIO()), executor.batch():
            jobs = [executor.submit(task) for task in tasks]  # submitit repeats sbatch's message
    except (submitit.core.utils.FailedJobError, subprocess.SubprocessError, OSError) as error:
        raise _refusal_error(_sbatch_message(error)) from error
    where = ""
    if isinstance(executor, ArrayExecutor):
        where = executor.cluster or cluster_name(paths.slurm)
    return [JobRecord(str(job.job_id), cluster.scheduler, _process_of(job), where) for job in jobs]


def submission_text(paths: SweepPaths, cluster: Cluster) -> str:
    """Return the submission file that sbatch would get for one job."""
    with tempfile.TemporaryDirectory() as folder:
        executor = _slurm_executor(SweepPaths(Path(folder) / paths.name), cluster, "a-submission")
        text: str = executor._make_submission_file_text(executor._submitit_command_str, "")
    return text.replace(folder, str(paths.folder.parent))


def make_private(folder: Path) -> None:
    """Make the folder of submitit's pickles accessible to this user only.

    Jobs load these pickles, and a pickle can run any code. So nobody else may write there.

    Raises:
        EnvironmentFailure: the folder belongs to another user.
    """
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    check_owner(folder)
    folder.chmod(0o700)  # an existing folder may have been open to others


def check_owner(folder: Path) -> None:
    """Refuse the folder of submitit's pickles if it belongs to another user.

    Raises:
        EnvironmentFailure: it does. Nothing was written.
    """
    if folder.exists() and folder.stat().st_uid != os.getuid():
        raise EnvironmentFailure(
            f"{folder} belongs to another user, and jobs would run the code in it; "
            "name another folder with --runs"
        )


def _executor(paths: SweepPaths, cluster: Cluster, submission: str) -> submitit.Executor:
    if cluster.scheduler == "slurm":
        return _slurm_executor(paths, cluster, submission)
    make_private(paths.scheduler_logs)
    executor = submitit.AutoExecutor(folder=paths.scheduler_logs, cluster="local")
    executor.update_parameters(name=job_name(paths), timeout_min=parse_minutes(cluster.time_limit))
    return executor


def _slurm_executor(paths: SweepPaths, cluster: Cluster, submission: str) -> ArrayExecutor:
    make_private(paths.scheduler_logs)
    executor = ArrayExecutor(
        paths.scheduler_logs,
        cluster.python,
        lambda answer: number_and_cluster(answer, paths, submission),
    )
    executor.update_parameters(**_slurm_parameters(paths, with_site_defaults(cluster), submission))
    return executor


def _slurm_parameters(paths: SweepPaths, cluster: Cluster, submission: str) -> dict[str, Any]:
    """Return the settings for SLURM. Memory is never requested: some sites' nodes report 1 MB."""
    requested = {
        "partition": cluster.partition,
        "account": cluster.account,
        "qos": cluster.qos,
        "gres": cluster.gres,
        "constraint": cluster.constraint,
        "exclude": excluded_nodes(paths, cluster.exclude),
    }
    mail = {"mail-type": cluster.mail_type, "mail-user": cluster.mail_user}
    return {key: value for key, value in requested.items() if value is not None} | {
        "job_name": job_name(paths),
        "time": parse_minutes(cluster.time_limit),
        "nodes": 1,
        "ntasks_per_node": 1,
        "cpus_per_task": cluster.cpus,
        # From SLURM 22.05 on the step does not get the job's cores by itself.
        "srun_args": [f"--cpus-per-task={cluster.cpus}"],
        "setup": [
            export_job_end(cluster),
            *(requeue_lines(paths, submission) if cluster.python else []),
            *cluster.setup,
        ],
        "array_parallelism": cluster.max_running_jobs,
        "signal_delay_s": signal_seconds(cluster),
        "comment": submission,
        "wckey": "",  # a site with registered keys refuses submitit's default
        "additional_parameters": {"requeue": True} | {k: v for k, v in mail.items() if v},
    }


def _refusal_error(message: str) -> InputError | EnvironmentFailure:
    """Return the error for a refused submission; its class decides the exit status."""
    if not is_final(message):
        return error_of(message)
    if "job array specification" in message:
        return ArrayTooLargeError(f"the site allows no array of so many jobs ({message})")
    limit = named_limit(message)
    if limit is None and "violates accounting" in message:
        return TooManyJobsError(
            f"SLURM refused the job and does not name the limit ({message}); either you have as "
            "many jobs as the site allows, then wait or cancel some; or time_limit, cpus or gres "
            "request more than your account or qos allows, then request less"
        )
    if limit is not None and "Submit" in limit:
        advice = "wait until some have ended or cancel some, then run this again"
        return TooManyJobsError(f"you have as many jobs as the site allows ({message}); {advice}")
    if limit is not None:
        return InputError(f"SLURM refused the job: {describe_limit(limit)} ({message})")
    return InputError(f"SLURM refused what the cluster file requests: {message}")


def _sbatch_message(error: Exception) -> str:
    """Return what sbatch printed, without the traceback that submitit adds."""
    lines = [line for line in str(error).splitlines() if line.startswith("sbatch:")]
    return " ".join(lines or [str(error)])


def _process_of(job: submitit.Job[Any]) -> Process | None:
    """Return the process that runs a local job; None for a job in SLURM."""
    return Process.of(int(job.job_id)) if isinstance(job, submitit.LocalJob) else None
