"""Whether a sweep can work here: on this machine, in SLURM, and in a job of a minute.

Every finding is a tick, or a cross with the mend.
"""

import re
import shutil
import subprocess
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from sweeps.cli.defaults import choose_defaults
from sweeps.cli.doctor_checks import (
    COMMAND_SECONDS,
    Finding,
    check_from_job,
    check_shared_folder,
    check_tracking_server,
    clock_offset,
    run_check,
)
from sweeps.cli.sweep_arguments import Runs
from sweeps.config.cluster import Cluster, read_cluster
from sweeps.config.experiment import read_experiment
from sweeps.errors import EnvironmentFailure, InputError
from sweeps.filesystem import atomic
from sweeps.jobs.slurm.pending_reasons import describe_reason
from sweeps.jobs.slurm.queue import read_queue
from sweeps.jobs.slurm.rate_limit import file_server_time
from sweeps.jobs.slurm.site_check import check_site
from sweeps.jobs.start import SweepRequest
from sweeps.jobs.submit import submit_tasks
from sweeps.storage.paths import DoctorPaths
from sweeps.storage.sweep import runs_folder
from sweeps.text import printable

COMMANDS = ("sbatch", "squeue", "scontrol", "scancel", "srun")
ROOM_GIB = 2.0
"""So much room a sweep's checkpoints and an environment's caches want at least."""
JOB_MINUTES = "2"
"""The time limit of the doctor's job."""
CLOCK_SECONDS = 5.0
"""Clocks that differ by more confuse people; the sweep itself goes by no other machine's clock."""


def doctor(
    experiment: Annotated[Path | None, typer.Argument(help="as for run")] = None,
    cluster: Annotated[str | None, typer.Option("--cluster", help="as for run")] = None,
    runs: Runs = None,
    wait: Annotated[float, typer.Option(min=0, help="minutes for the job to start and end")] = 10.0,
) -> None:
    """Look whether a sweep can work here, and in a job of a minute."""
    path, cluster = choose_defaults(experiment, cluster)
    passed = True
    for finding in run_checks(SweepRequest(path, cluster, runs_folder(runs)), 60 * wait):
        typer.echo(printable(finding.line()))
        passed = passed and finding.passed
    if not passed:
        raise typer.Exit(1)


@dataclass(frozen=True)
class DoctorTask:
    """What the doctor's job runs: checks of what only a job can see."""

    folder: Path
    experiment: Path
    cluster: Cluster

    def __call__(self) -> None:
        """Check, and write down what was found."""
        check_from_job(DoctorPaths(self.folder), self.experiment, self.cluster)


def run_checks(request: SweepRequest, wait_seconds: float) -> Iterator[Finding]:
    """Look at everything; at last, from a job."""
    cluster = read_cluster(request.cluster)
    yield run_check("experiment", lambda: read_experiment(request.experiment).experiment.name)
    yield run_check("home", lambda: _free_space(Path.home()))
    yield run_check("folder of runs", lambda: _free_space(request.runs.folder))
    paths = request.runs.doctor(uuid.uuid4().hex[:8])
    paths.folder.mkdir(parents=True)
    try:
        yield run_check("rename and lock there", lambda: check_shared_folder(paths))
        yield run_check("tracking store", lambda: check_tracking_server(cluster.tracking))
        if cluster.scheduler == "slurm":
            yield from _check_slurm(request, cluster, paths, wait_seconds)
    finally:
        shutil.rmtree(paths.folder, ignore_errors=True)


def _check_slurm(
    request: SweepRequest, cluster: Cluster, paths: DoctorPaths, wait_seconds: float
) -> Iterator[Finding]:
    missing = [command for command in COMMANDS if shutil.which(command) is None]
    said = f"no {', '.join(missing)} here: log in to the cluster" if missing else "all here"
    yield Finding("SLURM's commands", not missing, said)
    if missing:
        return
    asked = f"partition {cluster.partition}, account {cluster.account}, qos {cluster.qos}"

    def check() -> str:
        check_site(request.cluster, cluster, request.runs.slurm, all_checks=True)
        return asked

    known = run_check("cluster file", check)
    yield known
    if not known.passed:
        return
    experiment = request.experiment.absolute()
    try:
        short = cluster.model_copy(update={"time_limit": JOB_MINUTES})
        task = DoctorTask(paths.folder, experiment, cluster)
        number = submit_tasks(paths.sweep, short, "doctor", [task])[0].id
    except (InputError, EnvironmentFailure) as error:
        yield Finding("a job", False, str(error))
        return
    content = _wait(paths, wait_seconds)
    if content is None:
        yield Finding("a job", False, _why_no_result(paths, number))
        subprocess.run(["scancel", number], timeout=COMMAND_SECONDS, check=False)
        return
    yield Finding("a job", True, f"ran on {content['host']}, and wrote where this machine can read")
    yield from (Finding(**fields) for fields in content["findings"])
    yield compare_clocks(content["ahead"] - clock_offset(paths))


def compare_clocks(ahead_of_here: float) -> Finding:
    """What the difference between the job's clock and this machine's means."""
    apart = abs(ahead_of_here)
    mend = "" if apart < CLOCK_SECONDS else "; tell the site's staff: times in logs will mislead"
    return Finding("clocks", apart < CLOCK_SECONDS, f"{apart:.1f} s apart{mend}")


def _wait(paths: DoctorPaths, seconds: float) -> dict[str, Any] | None:
    give_up = time.monotonic() + seconds
    while (content := atomic.read_json(paths.findings)) is None:
        if time.monotonic() > give_up:
            return None
        time.sleep(1.0)
    return dict(content)


def _why_no_result(paths: DoctorPaths, number: str) -> str:
    try:
        entry = read_queue(paths.sweep, since=file_server_time(paths.sweep.slurm)).entries.get(
            number
        )
    except EnvironmentFailure as error:
        return str(error)
    if entry is not None and entry.is_pending:
        return f"{number} still waits: {describe_reason(entry.reason, number)}; run this again then"
    logs = "\n".join(path.read_text() for path in sorted(paths.sweep.scheduler_logs.glob("*.err")))
    last = logs.strip().splitlines()[-1:] or ["its log is empty: see the setup lines"]
    return f"{number} wrote nothing: {last[0]}"


def _free_space(folder: Path) -> str:
    while not folder.exists():
        folder = folder.parent
    free = shutil.disk_usage(folder).free / 2**30
    quota = _quota()
    if free < ROOM_GIB:
        raise EnvironmentFailure(
            f"{free:.1f} GiB free in {folder}; delete what is old, or use --runs"
        )
    return f"{free:.0f} GiB free in {folder}{quota}"


def _quota() -> str:
    """What `quota` says, where there is one: free room may be less than the disk's.

    Raises:
        WorldError: it is used up.
    """
    if shutil.which("quota") is None:
        return ""
    said = subprocess.run(
        ["quota", "-s"], capture_output=True, text=True, timeout=COMMAND_SECONDS, check=False
    )
    last = said.stdout.rstrip().rpartition("\n")[2]
    figures = re.search(r"(?<!\S)(\d\S*)\s+(\d\S*)\s+(\d\S*)", last)
    if figures is None:
        return ""
    used, soft, hard = figures.groups()
    if used.endswith("*"):  # as `quota` marks it
        raise EnvironmentFailure(
            f"over quota: {used[:-1]} of {soft}; delete what is old, or use --runs"
        )
    return f"; quota: {used} of {soft if soft != '0K' else hard} used"
