"""Sending jobs to a scheduler: all that is asked of submitit, and the only module that knows it.

Without SLURM the same jobs go through submitit's local executor, so that what a laptop runs is
what a cluster runs.
"""

import json
import os
import re
import subprocess
import sys
import tempfile
import time
import uuid
from contextlib import redirect_stderr
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Any

import submitit

from sweeps.cli.doctor_checks import check_from_job
from sweeps.config.cluster import Cluster, parse_minutes, required_jobs
from sweeps.errors import EnvironmentFailure, InputError
from sweeps.filesystem import atomic
from sweeps.filesystem.lock import Lock
from sweeps.filesystem.process import Process
from sweeps.jobs.slurm.bad_nodes import excluded_nodes
from sweeps.jobs.slurm.commands import (
    PAUSE_SECONDS,
    RETRY_SECONDS,
    SlurmUnavailableError,
    is_unavailable,
)
from sweeps.jobs.slurm.queue import read_queue
from sweeps.jobs.slurm.rate_limit import file_server_time, run_when_allowed
from sweeps.jobs.slurm.time_limit import export_job_end, trials_not_ended
from sweeps.jobs.status import active_jobs
from sweeps.jobs.supervisor import Supervisor
from sweeps.storage.paths import DoctorPaths, SweepPaths
from sweeps.storage.sweep import Sweep, open_sweep

EVERY_DEVICE = "all"
LOCK_STALE_SECONDS = 300.0
"""Silence after which a launcher on another machine is believed dead: sbatch can be slow."""
QUEUE_AGE_SECONDS = 5.0
"""Who cancels all jobs and runs the sweep again wants new ones, and not those of a minute ago."""
SIGNAL_SECONDS = 90
"""How long before its end SLURM warns a job."""


class TooManyJobsError(EnvironmentFailure):
    """A user may not have so many jobs that run or wait."""


@dataclass(frozen=True)
class Task:
    """What submitit pickles and runs: a supervisor on a sweep's folder.

    Attributes:
        folder: the sweep's.
        token: the job's.
        devices: `CUDA_VISIBLE_DEVICES` as it was at submission, for a local job, which submitit
            would let see no GPU; None leaves it to the scheduler.
    """

    folder: Path
    token: str
    devices: str | None

    def __call__(self) -> None:
        """Run the job."""
        if self.devices is not None:
            os.environ.pop("CUDA_VISIBLE_DEVICES", None)
            if self.devices != EVERY_DEVICE:
                os.environ["CUDA_VISIBLE_DEVICES"] = self.devices
        paths = SweepPaths(self.folder)
        Supervisor(open_sweep(paths), paths.job(self.token)).run()


@dataclass(frozen=True)
class DoctorTask:
    """What the doctor's job runs: a look at what only a job can see."""

    folder: Path
    experiment: Path
    cluster: Cluster

    def __call__(self) -> None:
        """Look, and write it down."""
        check_from_job(DoctorPaths(self.folder), self.experiment, self.cluster)


def send_doctor(paths: DoctorPaths, cluster: Cluster, experiment: Path) -> str:
    """Send the doctor's job, of two minutes at most; its number.

    Raises:
        InputError: the scheduler refused what the cluster file asks for.
        WorldError: it failed.
    """
    short = cluster.model_copy(update={"time_limit": "2"})
    try:
        task = DoctorTask(paths.folder, experiment, cluster)
        job = _executor(paths.sweep, short, "doctor").submit(task)
    except (submitit.core.utils.FailedJobError, subprocess.SubprocessError, OSError) as error:
        raise _refusal_error(_sbatch_message(error)) from error
    return str(job.job_id)


def submit_missing(sweep: Sweep) -> list[str]:
    """Bring the number of jobs that run or wait up to what the cluster's file says.

    Returns:
        The scheduler's numbers of the jobs sent now; empty where nothing was missing.

    Raises:
        InputError: the scheduler refused what the cluster file asks for.
        WorldError: it took no job for another reason.
    """
    if sweep.plan.cluster.scheduler != "local":
        return submit_missing_here(sweep)
    # What submitit starts on this machine inherits the session of whoever submits: Ctrl-C or a
    # closed terminal would end the sweep with its watcher, and `make sweep | tee log` would hang.
    command = [sys.executable, "-m", "sweeps", "submit", str(sweep.paths.folder)]
    _make_private(sweep.paths.scheduler_logs)
    with tempfile.TemporaryFile() as answer, sweep.paths.submission_log.open("ab") as log:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=answer, stderr=log, start_new_session=True
        )
        if process.wait():
            raise EnvironmentFailure(
                f"no job could be started here; {sweep.paths.submission_log} says why"
            )
        answer.seek(0)
        return list(json.loads(answer.read()))


def submit_missing_here(sweep: Sweep) -> list[str]:
    """The same, by this process. Two at once take turns, and none doubles what the other sent.

    Raises:
        InputError: the scheduler refused what the cluster file asks for.
        WorldError: it took no job for another reason, or did not answer for long.
    """
    give_up = time.monotonic() + RETRY_SECONDS
    while True:
        try:
            return _submit_missing_once(sweep)
        except SlurmUnavailableError:
            if time.monotonic() > give_up:
                raise
            time.sleep(PAUSE_SECONDS)


def _submit_missing_once(sweep: Sweep) -> list[str]:
    with Lock(sweep.paths.lock("launch"), stale_after=LOCK_STALE_SECONDS).hold() as turn:
        if sweep.plan.cluster.scheduler == "slurm":
            _cancel_unrecorded_jobs(sweep.paths)
        there = active_jobs(sweep.paths, max_age=QUEUE_AGE_SECONDS)
        missing = required_jobs(sweep.plan.cluster, trials_not_ended(sweep)) - len(there)
        turn.check()
        return _submit(sweep, missing) if missing > 0 else []


def _cancel_unrecorded_jobs(paths: SweepPaths) -> None:
    """Cancel jobs whose launcher was killed after sbatch: they lack what they are to run.

    A job says by its comment which submission it is of, and by its place in the array which of
    that submission's jobs.
    """
    drafts = {job.token: job for job in paths.unrecorded_jobs() if not job.ended.exists()}
    if not drafts:
        return
    entries = read_queue(paths, since=file_server_time(paths.slurm)).entries.values()
    lost = [e.id for e in entries if _token(e.comment, e.id.partition("_")[2]) in drafts]
    if lost:
        run_when_allowed(paths.slurm, "scancel", *lost)
    for job in drafts.values():
        job.ended.touch()


def _token(submission: str, place: int | str) -> str:
    """What one job of a submission is called."""
    return f"{submission}-{place or 0}"


def _submit(sweep: Sweep, count: int) -> list[str]:
    """Send so many jobs; half as many, and half of these, where a user may not have so many."""
    try:
        return _send(sweep, count)
    except TooManyJobsError:
        if count > 1:
            return _submit(sweep, count // 2)
        if active_jobs(sweep.paths):  # they come back by themselves
            return []
        raise


def _send(sweep: Sweep, count: int) -> list[str]:
    cluster = sweep.plan.cluster
    local = cluster.scheduler == "local"
    devices = os.environ.get("CUDA_VISIBLE_DEVICES", EVERY_DEVICE) if local else None
    submission = f"{time.strftime('%Y%m%d-%H%M%S')}-{uuid.uuid4().hex[:6]}"
    tokens = [_token(submission, place) for place in range(count)]
    for token in tokens:
        sweep.paths.job(token).folder.mkdir(parents=True)
    tasks = [Task(sweep.paths.folder, token, devices) for token in tokens]
    try:
        executor = _executor(sweep.paths, cluster, submission)
        with redirect_stderr(StringIO()), executor.batch():  # submitit repeats sbatch's complaint
            jobs = [executor.submit(task) for task in tasks]
    except (submitit.core.utils.FailedJobError, subprocess.SubprocessError, OSError) as error:
        if is_unavailable(said := _sbatch_message(error)):
            raise SlurmUnavailableError(said) from error
        for token in tokens:  # none of them was taken
            sweep.paths.job(token).folder.rmdir()
        raise _refusal_error(said) from error
    for token, job in zip(tokens, jobs, strict=True):
        record = {"id": job.job_id, "scheduler": cluster.scheduler, "process": _process_of(job)}
        atomic.write(sweep.paths.job(token).submitted, json.dumps(record))
    return [job.job_id for job in jobs]


def _refusal_error(said: str) -> InputError | EnvironmentFailure:
    """What a person is told of it, and with which status."""
    if re.search(r"MaxSubmit|job submit limit", said):
        mend = "wait until some have ended, or cancel them, and run this again"
        return TooManyJobsError(f"you have as many jobs as the site lets you ({said}); {mend}")
    if "sbatch:" in said:
        return InputError(f"SLURM refuses what the cluster file asks for: {said}")
    return EnvironmentFailure(f"the scheduler refused the job: {said}")


def _sbatch_message(error: Exception) -> str:
    """What sbatch said, without the traceback that submitit puts around it."""
    said = [line for line in str(error).splitlines() if line.startswith("sbatch:")]
    return " ".join(said or [str(error)])


def submission_text(paths: SweepPaths, cluster: Cluster) -> str:
    """The file that sbatch is given, for one job."""
    with tempfile.TemporaryDirectory() as folder:
        executor = _executor(SweepPaths(Path(folder) / paths.name), cluster, "a-submission")
        slurm: Any = executor._executor
        text: str = slurm._make_submission_file_text(slurm._submitit_command_str, "")
    return text.replace(folder, str(paths.runs))


def _make_private(folder: Path) -> None:
    """Make the folder of submitit's pickles, which jobs load: nobody else may write there.

    Raises:
        WorldError: it is somebody else's.
    """
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    if folder.stat().st_uid != os.getuid():
        raise EnvironmentFailure(f"{folder} is somebody else's, and jobs would run what lies in it")
    folder.chmod(0o700)  # where it was there, it may have been open to others


def _executor(paths: SweepPaths, cluster: Cluster, submission: str) -> submitit.AutoExecutor:
    _make_private(paths.scheduler_logs)
    executor = submitit.AutoExecutor(folder=paths.scheduler_logs, cluster=cluster.scheduler)
    executor.update_parameters(
        name=f"sweep-{paths.name}",
        timeout_min=parse_minutes(cluster.time_limit),
        nodes=1,
        tasks_per_node=1,
        cpus_per_task=cluster.cpus,
    )
    if cluster.scheduler == "slurm":
        executor.update_parameters(**_slurm_parameters(paths, cluster, submission))
    return executor


def _slurm_parameters(paths: SweepPaths, cluster: Cluster, submission: str) -> dict[str, Any]:
    """SLURM's own settings. Memory is never asked for: some sites' nodes say they have 1 MB."""
    asked = {
        "slurm_partition": cluster.partition,
        "slurm_account": cluster.account,
        "slurm_qos": cluster.qos,
        "slurm_gres": cluster.gres,
        "slurm_constraint": cluster.constraint,
        "slurm_exclude": excluded_nodes(paths, cluster.exclude),
        "slurm_setup": [export_job_end(cluster), *cluster.setup],
    }
    return {key: value for key, value in asked.items() if value is not None} | {
        "slurm_array_parallelism": cluster.max_running_jobs,
        "slurm_signal_delay_s": round(
            min(SIGNAL_SECONDS, parse_minutes(cluster.time_limit) * 60 / 8)
        ),
        "slurm_comment": submission,
        "slurm_wckey": "",  # submitit's own is refused where such keys are registered
        "slurm_additional_parameters": {"requeue": True},
    }


def _process_of(job: submitit.Job[Any]) -> dict[str, Any] | None:
    """The process that runs a local job; None for one that a scheduler has."""
    if not isinstance(job, submitit.LocalJob):
        return None
    return Process.of(int(job.job_id)).to_json()
