"""Submission of jobs through submitit: the only module that uses submitit.

The keys of a cluster file become sbatch fields here. Without SLURM the same jobs run in
submitit's local executor, so a laptop runs the same code as a cluster.
"""

import os
import re
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, redirect_stderr
from io import StringIO
from pathlib import Path
from typing import Any

import submitit

from sweeps.config.cluster import Cluster, parse_minutes
from sweeps.errors import EnvironmentFailure, InputError
from sweeps.filesystem.process import Process
from sweeps.jobs.slurm.bad_nodes import excluded_nodes
from sweeps.jobs.slurm.commands import SlurmUnavailableError, is_unavailable
from sweeps.jobs.slurm.identity import job_name
from sweeps.jobs.slurm.sent_jobs import number_and_cluster
from sweeps.jobs.slurm.site_name import cluster_name
from sweeps.jobs.slurm.time_limit import export_job_end, signal_seconds
from sweeps.storage.job_record import JobRecord
from sweeps.storage.paths import SweepPaths

Task = Callable[[], None]
"""The task that a job runs: a callable that can be pickled."""


class TooManyJobsError(EnvironmentFailure):
    """The site does not allow the user so many jobs that run or are pending."""


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
        # submitit repeats sbatch's message
        with _numbers(paths, submission) as named, redirect_stderr(StringIO()), executor.batch():
            jobs = [executor.submit(task) for task in tasks]
    except (submitit.core.utils.FailedJobError, subprocess.SubprocessError, OSError) as error:
        raise _refusal_error(_sbatch_message(error)) from error
    name = cluster_name(paths.slurm) if cluster.scheduler == "slurm" else ""
    return [
        JobRecord(str(job.job_id), cluster.scheduler, _process_of(job), "".join(named) or name)
        for job in jobs
    ]


@contextmanager
def _numbers(paths: SweepPaths, submission: str) -> Iterator[list[str]]:
    """Let submitit read the numbers of jobs as this project does; yield the cluster if named.

    submitit takes the first number after the word `job`, in a banner for example.
    """
    executor, named = submitit.SlurmExecutor, list[str]()

    def read(answer: str | bytes) -> str:
        text = answer if isinstance(answer, str) else answer.decode(errors="backslashreplace")
        number, cluster = number_and_cluster(text, paths, submission)
        named[:] = [cluster]
        return number

    original = executor.__dict__["_get_job_id_from_submission_command"]
    setattr(executor, "_get_job_id_from_submission_command", staticmethod(read))  # noqa: B010
    try:
        yield named
    finally:
        setattr(executor, "_get_job_id_from_submission_command", original)  # noqa: B010


def submission_text(paths: SweepPaths, cluster: Cluster) -> str:
    """Return the submission file that sbatch would get for one job."""
    with tempfile.TemporaryDirectory() as folder:
        executor = _executor(SweepPaths(Path(folder) / paths.name), cluster, "a-submission")
        slurm: Any = executor._executor
        text: str = slurm._make_submission_file_text(slurm._submitit_command_str, "")
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


def _executor(paths: SweepPaths, cluster: Cluster, submission: str) -> submitit.AutoExecutor:
    make_private(paths.scheduler_logs)
    executor = submitit.AutoExecutor(folder=paths.scheduler_logs, cluster=cluster.scheduler)
    executor.update_parameters(
        name=job_name(paths),
        timeout_min=parse_minutes(cluster.time_limit),
        nodes=1,
        tasks_per_node=1,
        cpus_per_task=cluster.cpus,
    )
    if cluster.scheduler == "slurm":
        executor.update_parameters(**_slurm_parameters(paths, cluster, submission))
    return executor


def _slurm_parameters(paths: SweepPaths, cluster: Cluster, submission: str) -> dict[str, Any]:
    """Return the settings for SLURM. Memory is never requested: some sites' nodes report 1 MB."""
    requested = {
        "slurm_partition": cluster.partition,
        "slurm_account": cluster.account,
        "slurm_qos": cluster.qos,
        "slurm_gres": cluster.gres,
        "slurm_constraint": cluster.constraint,
        "slurm_exclude": excluded_nodes(paths, cluster.exclude),
        "slurm_setup": [export_job_end(cluster), *cluster.setup],
    }
    mail = {"mail-type": cluster.mail_type, "mail-user": cluster.mail_user}
    additional = {"requeue": True} | {key: value for key, value in mail.items() if value}
    return {key: value for key, value in requested.items() if value is not None} | {
        "slurm_array_parallelism": cluster.max_running_jobs,
        "slurm_signal_delay_s": signal_seconds(cluster),
        "slurm_comment": submission,
        "slurm_wckey": "",  # a site with registered keys refuses submitit's default
        "slurm_additional_parameters": additional,
    }


def _refusal_error(message: str) -> InputError | EnvironmentFailure:
    """Return the error for a refused submission; its class decides the exit status."""
    if is_unavailable(message):
        return SlurmUnavailableError(message)
    if re.search(r"MaxSubmit|job submit limit", message):
        advice = "wait until some have ended or cancel some, then run this again"
        return TooManyJobsError(f"you have as many jobs as the site allows ({message}); {advice}")
    if "sbatch:" in message:
        return InputError(f"SLURM refused what the cluster file requests: {message}")
    return EnvironmentFailure(f"the scheduler refused the job: {message}")


def _sbatch_message(error: Exception) -> str:
    """Return what sbatch printed, without the traceback that submitit adds."""
    lines = [line for line in str(error).splitlines() if line.startswith("sbatch:")]
    return " ".join(lines or [str(error)])


def _process_of(job: submitit.Job[Any]) -> Process | None:
    """Return the process that runs a local job; None for a job in SLURM."""
    return Process.of(int(job.job_id)) if isinstance(job, submitit.LocalJob) else None
