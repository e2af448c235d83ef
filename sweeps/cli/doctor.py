"""`sweeps doctor`: check that a sweep can work on this machine, in SLURM, and in a short job.

Each check prints a tick, or a cross and what to do.
"""

import re
import shutil
import subprocess
import time
import uuid
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from sweeps.cli.defaults import choose_defaults
from sweeps.cli.doctor_checks import (
    COMMAND_SECONDS,
    Finding,
    check_from_job,
    check_shared_folder,
    check_tracking_store,
    clock_offset,
    run_check,
)
from sweeps.cli.doctor_site import site_findings
from sweeps.cli.json_output import JsonOption, print_json
from sweeps.cli.sweep_arguments import ClusterName, ExperimentFile, Runs
from sweeps.config.cluster import Cluster, read_cluster
from sweeps.config.resolve import read_experiment
from sweeps.errors import EnvironmentFailure, InputError
from sweeps.filesystem import atomic
from sweeps.jobs.notify import check_notify
from sweeps.jobs.slurm.pending_reasons import describe_reason
from sweeps.jobs.slurm.queue import read_queue
from sweeps.jobs.slurm.rate_limit import file_server_time
from sweeps.jobs.slurm.site_check import check_site, explain_refusal
from sweeps.jobs.slurm.submission_environment import environment_notes, with_site_defaults
from sweeps.jobs.start import SweepRequest
from sweeps.jobs.submit import submit_tasks
from sweeps.storage.file_count import count_files
from sweeps.storage.paths import DoctorPaths
from sweeps.storage.sweep import runs_folder
from sweeps.text import printable

COMMANDS = ("sbatch", "squeue", "scontrol", "scancel", "srun")
MIN_FREE_GIB = 2.0
"""The least disk space for a sweep's checkpoints and the caches of a Python environment."""
_FREE_SPACE = "delete old files, or use another folder with --runs"
JOB_MINUTES = "2"
"""The time limit of the doctor's job, in minutes."""
CLOCK_SECONDS = 5.0
"""The largest difference between two clocks that passes.

A larger one makes logs confusing. The sweep itself does not depend on the clock of another machine.
"""


def doctor(
    experiment: ExperimentFile = None,
    cluster: ClusterName = None,
    runs: Runs = None,
    wait: Annotated[float, typer.Option(min=0, help="how many minutes to wait for the job")] = 10.0,
    as_json: JsonOption = False,
) -> None:
    """Check that a sweep can work here and, on a SLURM cluster, in a job of about a minute."""
    path, cluster = choose_defaults(experiment, cluster)
    findings = []
    for finding in run_checks(SweepRequest(path, cluster, runs_folder(runs)), 60 * wait):
        findings.append(finding)
        if not as_json:
            print(printable(finding.line()))
    passed = all(finding.passed for finding in findings)
    if as_json:
        print_json({"passed": passed, "findings": [asdict(finding) for finding in findings]})
    if not passed:
        raise typer.Exit(1)


@dataclass(frozen=True)
class DoctorTask:
    """The task of the doctor's job: the checks that only a job can make."""

    folder: Path
    experiment: Path
    cluster: Cluster

    def __call__(self) -> None:
        """Run the checks and write their findings into the folder."""
        check_from_job(DoctorPaths(self.folder), self.experiment, self.cluster)


def run_checks(request: SweepRequest, wait_seconds: float) -> Iterator[Finding]:
    """Run all checks, the ones from a job last, and yield each finding."""
    cluster = read_cluster(request.cluster)
    yield from _check_experiment(request, cluster)
    yield run_check("home folder", lambda: _free_space(Path.home()))
    paths = request.runs.doctor(uuid.uuid4().hex[:8])
    try:
        yield run_check("runs folder", lambda: _make_folder(paths))
        if not paths.folder.is_dir():
            return
        yield run_check("rename and lock", lambda: check_shared_folder(paths))
        yield run_check("tracking store", lambda: check_tracking_store(request.runs, cluster))
        if cluster.notify:
            yield run_check("notify", lambda: check_notify(cluster))
        if cluster.scheduler == "slurm":
            yield from _check_slurm(request, cluster, paths, wait_seconds)
    finally:
        shutil.rmtree(paths.folder, ignore_errors=True)


def _check_experiment(request: SweepRequest, cluster: Cluster) -> Iterator[Finding]:
    """Yield whether the experiment can be read, and what its trainer finds on this machine."""
    try:
        resolved = read_experiment(request.experiment)
    except InputError as error:
        yield Finding("experiment", False, str(error))
        return
    yield Finding("experiment", True, resolved.experiment.name)
    experiment = resolved.experiment
    files = count_files(request.runs.sweep(experiment.name), experiment.trials)
    yield Finding("files", True, files.text())
    yield run_check("data", resolved.check_data)
    if cluster.scheduler == "local":
        yield run_check("device", lambda: resolved.check_device(gpu=cluster.gpus > 0))


def _resources(cluster: Cluster) -> str:
    """Partition, account and QOS of the jobs, in words; the site chooses what nobody names."""
    named = {"partition": cluster.partition, "account": cluster.account, "qos": cluster.qos}
    return ", ".join(f"{field} {name or '(the default)'}" for field, name in named.items())


def _check_slurm(
    request: SweepRequest, cluster: Cluster, paths: DoctorPaths, wait_seconds: float
) -> Iterator[Finding]:
    missing = [command for command in COMMANDS if shutil.which(command) is None]
    message = f"{', '.join(missing)} not found; log in to the cluster" if missing else "all found"
    yield Finding("SLURM commands", not missing, message)
    if missing:
        return

    def check() -> str:
        submitted = with_site_defaults(cluster)
        check_site(request.cluster, submitted, request.runs.slurm, all_checks=True)
        return _resources(submitted)

    for note in environment_notes(cluster):
        yield Finding("environment", True, note)
    finding = run_check("cluster file", check)
    yield finding
    if not finding.passed:
        return
    experiment = request.experiment.absolute()
    try:
        short = cluster.model_copy(update={"time_limit": JOB_MINUTES})
        task = DoctorTask(paths.folder, experiment, cluster)
        number = _submit(request, short, paths, task)
    except (InputError, EnvironmentFailure) as error:
        yield from site_findings(request.runs.slurm)
        yield Finding("job", False, str(error))
        return
    yield from site_findings(request.runs.slurm)  # the job waits or runs meanwhile
    content = _wait(paths, wait_seconds)
    if content is None:
        yield Finding("job", False, _why_no_result(paths, number))
        with suppress(subprocess.SubprocessError, OSError):
            subprocess.run(["scancel", number], timeout=COMMAND_SECONDS, check=False)
        return
    yield Finding("job", True, f"ran on {content['host']}; this machine can read what it wrote")
    yield from (Finding(**fields) for fields in content["findings"])
    yield compare_clocks(content["ahead"] - clock_offset(paths))


def _submit(request: SweepRequest, cluster: Cluster, paths: DoctorPaths, task: DoctorTask) -> str:
    """Submit the doctor's job and return its number."""
    submission = paths.folder.name.removeprefix(".")  # its own: the job is found by it
    try:
        return submit_tasks(paths.sweep, cluster, submission, [task])[0].id
    except InputError as error:
        explain_refusal(with_site_defaults(cluster), request.runs.slurm, str(error))
        raise


def compare_clocks(ahead_of_here: float) -> Finding:
    """Return whether the difference between the job's clock and this machine's is acceptable.

    Args:
        ahead_of_here: how many seconds the job's clock is ahead.
    """
    apart = abs(ahead_of_here)
    advice = "; times in logs will be misleading; tell the site's staff"
    passed = apart < CLOCK_SECONDS
    return Finding("clocks", passed, f"{apart:.1f} s apart{'' if passed else advice}")


def _wait(paths: DoctorPaths, seconds: float) -> dict[str, Any] | None:
    deadline = time.monotonic() + seconds
    while (content := atomic.read_json(paths.findings)) is None:
        if time.monotonic() > deadline:
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
        return f"{number} is pending: {describe_reason(entry.reason, number)}; try again later"
    logs = "\n".join(
        path.read_text(encoding="utf-8", errors="backslashreplace")
        for path in sorted(paths.sweep.scheduler_logs.glob("*.err"))
    )
    last = logs.strip().splitlines()[-1:] or ["its log is empty; check setup in the cluster file"]
    return f"{number} wrote no result: {last[0]}"


def _make_folder(paths: DoctorPaths) -> str:
    runs = paths.folder.parent
    try:
        paths.folder.mkdir(parents=True)
    except OSError as error:
        advice = "use another folder with --runs"
        raise InputError(f"{runs} cannot be written ({error.strerror}); {advice}") from error
    return _free_space(runs)


def _free_space(folder: Path) -> str:
    while not folder.exists():
        folder = folder.parent
    free = shutil.disk_usage(folder).free / 2**30
    quota = _quota()
    if free < MIN_FREE_GIB:
        raise EnvironmentFailure(
            f"{free:.1f} GiB free in {folder}, at least {MIN_FREE_GIB:g} needed; {_FREE_SPACE}"
        )
    return f"{free:.0f} GiB free in {folder}{quota}"


def _quota() -> str:
    """Return the user's quota, if there is one: it may leave less space than the disk has.

    Raises:
        EnvironmentFailure: the quota is used up.
    """
    if shutil.which("quota") is None:
        return ""
    answer = subprocess.run(
        ["quota", "-s"],
        capture_output=True,
        encoding="utf-8",
        errors="backslashreplace",
        timeout=COMMAND_SECONDS,
        check=False,
    )
    last = answer.stdout.rstrip().rpartition("\n")[2]
    numbers = re.search(r"(?<!\S)(\d\S*)\s+(\d\S*)\s+(\d\S*)", last)
    if numbers is None:
        return ""
    used, soft, hard = numbers.groups()
    if used.endswith("*"):  # `quota` marks a quota that is exceeded this way
        raise EnvironmentFailure(f"over quota: {used[:-1]} of {soft}; {_FREE_SPACE}")
    files = _file_quota(last[numbers.end() :])
    return f"; quota: {used} of {soft if soft != '0K' else hard} used{files}"


def _file_quota(columns: str) -> str:
    """Return the limit on the number of files, from the columns behind those of the space."""
    numbers = re.findall(r"(?<!\S)(\d+[kmgt]?)\*?(?!\S)", columns, re.IGNORECASE)[:3]
    limit = next((number for number in numbers[1:] if number != "0"), None)
    return "" if limit is None else f", {numbers[0]} of {limit} files"
