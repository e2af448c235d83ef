"""The checks of `sweeps doctor`, run on this machine and in a job.

Only a job can check how a compute node sees the shared folder, the environment after the setup
lines, the data and the clock.
"""

import json
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from sweeps.config.cluster import Cluster
from sweeps.config.resolve import read_experiment
from sweeps.errors import EnvironmentFailure, InputError
from sweeps.filesystem import atomic
from sweeps.filesystem.lock import Lock
from sweeps.filesystem.process import hostname
from sweeps.jobs.gpu_variables import visible_devices
from sweeps.jobs.slurm.cores import check_core_count
from sweeps.storage.paths import DoctorPaths, RunsPaths
from sweeps.tracking.access import check_writable
from sweeps.tracking.server import check_tracking_server
from sweeps.tracking.store import resolve_store

COMMAND_SECONDS = 120
TORCH = (
    "import torch; available = torch.cuda.is_available(); "
    "print(torch.__version__, torch.cuda.get_device_name(0) if available else 'no CUDA device')"
)


@dataclass(frozen=True)
class Finding:
    """The result of one check.

    Attributes:
        name: what was checked.
        passed: whether it is as a sweep needs it.
        message: what was found and, if the check failed, what to do.
    """

    name: str
    passed: bool
    message: str

    def line(self) -> str:
        """Return the finding as one line, with a tick or a cross."""
        return f"{'✓' if self.passed else '✗'} {self.name}: {self.message}"


def check_from_job(paths: DoctorPaths, experiment: Path, cluster: Cluster) -> None:
    """Run the checks of a job, and write their findings into the folder."""
    findings = [
        run_check("Python and torch in a job", lambda: _torch(cluster)),
        run_check("rename and lock in a job", lambda: check_shared_folder(paths)),
        run_check("data in a job", lambda: read_experiment(experiment).check_data()),
        run_check(
            "device in a job",
            lambda: read_experiment(experiment).check_device(gpu=cluster.gpus > 0),
        ),
        run_check("cores in a job", lambda: check_core_count(cluster)),
        run_check("tracking store in a job", lambda: check_tracking_server(cluster.tracking)),
    ]
    content = {
        "host": hostname(),
        "findings": [asdict(finding) for finding in findings],
        "ahead": clock_offset(paths),
    }
    atomic.write(paths.findings, json.dumps(content))


def run_check(name: str, check: Callable[[], str]) -> Finding:
    """Run a check and return its finding; it has failed if it raises one of these errors."""
    try:
        return Finding(name, True, check())
    except (InputError, EnvironmentFailure, OSError, subprocess.SubprocessError) as error:
        return Finding(name, False, " ".join(str(error).split()))


def check_shared_folder(paths: DoctorPaths) -> str:
    """Check that files can be replaced and locked in a shared folder, as a sweep needs it.

    Raises:
        EnvironmentFailure: a renamed file is not visible at once, or a lock does not work.
    """
    atomic.write(paths.probe, "one")
    atomic.write(paths.probe, "two")
    if paths.probe.read_text(encoding="utf-8") != "two":
        raise EnvironmentFailure(
            f"a renamed file is not visible at once in {paths.folder}; use another with --runs"
        )
    for _ in range(2):
        with Lock(paths.lock, stale_after=60.0, patience=30.0).hold() as turn:
            turn.check()
    return "files are replaced atomically, and a lock has one holder"


def check_tracking_store(runs: RunsPaths, cluster: Cluster) -> str:
    """Check the tracking store as `run` does, and ask its server for an experiment if it has one.

    Raises:
        InputError: the store cannot be written, or its address is not valid.
        EnvironmentFailure: the server does not answer, or refuses.
    """
    check_writable(resolve_store(runs, cluster.tracking))
    return check_tracking_server(cluster.tracking)


def _torch(cluster: Cluster) -> str:
    ended = subprocess.run(
        [sys.executable, "-c", TORCH],
        capture_output=True,
        encoding="utf-8",
        errors="backslashreplace",
        timeout=COMMAND_SECONDS,
        check=False,
    )
    python = f"{sys.executable}, Python {sys.version.split()[0]}"
    if ended.returncode:
        last = ended.stderr.strip().rpartition("\n")[2]
        raise EnvironmentFailure(f"{python}: {last}; check setup in the cluster file")
    if cluster.gpus and "no CUDA device" in ended.stdout:
        found = [f"{name}: {value}" for name, value in visible_devices().items()]
        visible = found[0] if found else "CUDA_VISIBLE_DEVICES: not set"
        advice = "install torch for CUDA or ROCm, or set gres in the cluster file"
        raise EnvironmentFailure(f"{python}: torch {ended.stdout.strip()} ({visible}); {advice}")
    return f"{python}, torch {ended.stdout.strip()}"


def clock_offset(paths: DoctorPaths) -> float:
    """Return how many seconds this machine's clock is ahead of the file server's."""
    probe = paths.clock(hostname())
    probe.touch()
    return time.time() - probe.stat().st_mtime
