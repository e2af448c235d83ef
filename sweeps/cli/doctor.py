"""Whether a sweep can work here: on this machine, in SLURM, and in a job of a minute.

Every finding is a tick, or a cross with the mend.
"""

import re
import shutil
import subprocess
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sweeps.cli.doctor_checks import COMMAND_SECONDS, Finding, ahead, found, reach, rename_and_lock
from sweeps.config.cluster import Cluster, read_cluster
from sweeps.config.experiment import read_experiment
from sweeps.errors import InputError, WorldError
from sweeps.filesystem import atomic as files
from sweeps.jobs.launcher import send_doctor
from sweeps.jobs.slurm.pending_reasons import in_words
from sweeps.jobs.slurm.queue import look
from sweeps.jobs.slurm.rate_limit import now
from sweeps.jobs.slurm.site_check import check_site
from sweeps.jobs.start import Request
from sweeps.storage.paths import DoctorPaths

COMMANDS = ("sbatch", "squeue", "scontrol", "scancel", "srun")
ROOM_GIB = 2.0
"""So much room a sweep's checkpoints and an environment's caches want at least."""
CLOCK_SECONDS = 5.0
"""Clocks that differ by more confuse people; the sweep itself goes by no other machine's clock."""


def examine(request: Request, wait_seconds: float) -> Iterator[Finding]:
    """Look at everything; at last, from a job."""
    cluster = read_cluster(request.cluster)
    yield found("experiment", lambda: read_experiment(request.experiment).experiment.name)
    yield found("home", lambda: _room(Path.home()))
    yield found("folder of runs", lambda: _room(request.runs.folder))
    paths = request.runs.doctor(uuid.uuid4().hex[:8])
    paths.folder.mkdir(parents=True)
    try:
        yield found("rename and lock there", lambda: rename_and_lock(paths))
        yield found("tracking store", lambda: reach(cluster.tracking))
        if cluster.scheduler == "slurm":
            yield from _examine_slurm(request, cluster, paths, wait_seconds)
    finally:
        shutil.rmtree(paths.folder, ignore_errors=True)


def _examine_slurm(
    request: Request, cluster: Cluster, paths: DoctorPaths, wait_seconds: float
) -> Iterator[Finding]:
    missing = [command for command in COMMANDS if shutil.which(command) is None]
    said = f"no {', '.join(missing)} here: log in to the cluster" if missing else "all here"
    yield Finding("SLURM's commands", not missing, said)
    if missing:
        return
    asked = f"partition {cluster.partition}, account {cluster.account}, qos {cluster.qos}"

    def check() -> str:
        check_site(request.cluster, cluster, request.runs.slurm, thoroughly=True)
        return asked

    known = found("cluster file", check)
    yield known
    if not known.good:
        return
    experiment = request.experiment.absolute()
    try:
        number = send_doctor(paths, cluster, experiment)
    except (InputError, WorldError) as error:
        yield Finding("a job", False, str(error))
        return
    content = _wait(paths, wait_seconds)
    if content is None:
        yield Finding("a job", False, _why_not(paths, number))
        subprocess.run(["scancel", number], timeout=COMMAND_SECONDS, check=False)
        return
    yield Finding("a job", True, f"ran on {content['host']}, and wrote where this machine can read")
    yield from (Finding(**fields) for fields in content["findings"])
    yield clocks(content["ahead"] - ahead(paths))


def clocks(ahead_of_here: float) -> Finding:
    """What the difference between the job's clock and this machine's means."""
    apart = abs(ahead_of_here)
    mend = "" if apart < CLOCK_SECONDS else "; tell the site's staff: times in logs will mislead"
    return Finding("clocks", apart < CLOCK_SECONDS, f"{apart:.1f} s apart{mend}")


def _wait(paths: DoctorPaths, seconds: float) -> dict[str, Any] | None:
    give_up = time.monotonic() + seconds
    while (content := files.read_json(paths.findings)) is None:
        if time.monotonic() > give_up:
            return None
        time.sleep(1.0)
    return dict(content)


def _why_not(paths: DoctorPaths, number: str) -> str:
    try:
        entry = look(paths.sweep, since=now(paths.sweep.slurm)).entries.get(number)
    except WorldError as error:
        return str(error)
    if entry is not None and entry.waits:
        return f"{number} still waits: {in_words(entry.reason, number)}; run this again then"
    logs = "\n".join(path.read_text() for path in sorted(paths.sweep.scheduler_logs.glob("*.err")))
    last = logs.strip().splitlines()[-1:] or ["its log is empty: see the setup lines"]
    return f"{number} wrote nothing: {last[0]}"


def _room(folder: Path) -> str:
    while not folder.exists():
        folder = folder.parent
    free = shutil.disk_usage(folder).free / 2**30
    quota = _quota()
    if free < ROOM_GIB:
        raise WorldError(f"{free:.1f} GiB free in {folder}; delete what is old, or use --runs")
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
        raise WorldError(f"over quota: {used[:-1]} of {soft}; delete what is old, or use --runs")
    return f"; quota: {used} of {soft if soft != '0K' else hard} used"
