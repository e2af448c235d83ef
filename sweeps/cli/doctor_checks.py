"""What is looked at on each machine that a sweep meets, and in a job as `sweeps doctor` sends one.

The job sees what only a job can: the shared folder from there, the environment that the set-up
lines give, the data, the clock.
"""

import base64
import json
import os
import ssl
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from sweeps.config.cluster import Cluster
from sweeps.config.experiment import read_experiment
from sweeps.errors import EnvironmentFailure, InputError
from sweeps.filesystem import atomic
from sweeps.filesystem.lock import Lock
from sweeps.filesystem.process import hostname
from sweeps.storage.paths import DoctorPaths

CERTIFICATE = "MLFLOW_TRACKING_SERVER_CERT_PATH"
COMMAND_SECONDS = 120
TORCH = (
    "import torch; there = torch.cuda.is_available(); "
    "print(torch.__version__, torch.cuda.get_device_name(0) if there else 'no CUDA device')"
)
REACH_SECONDS = 20
QUESTION = "/api/2.0/mlflow/experiments/search?max_results=1"
_FIXES = {
    401: "give MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, in a job by setup lines",
    403: "it refuses this host name; start it with --allowed-hosts 'name,name:*'",
    404: "no MLflow is at this address",
}


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        what: it was.
        good: whether it is as a sweep needs it.
        said: what was found, and the mend where it is not good.
    """

    name: str
    passed: bool
    message: str

    def line(self) -> str:
        """With a tick or a cross."""
        return f"{'✓' if self.passed else '✗'} {self.name}: {self.message}"


def check_from_job(paths: DoctorPaths, experiment: Path, cluster: Cluster) -> None:
    """What the job does: look at what it sees, and write it down."""
    seen = [
        run_check("Python and torch in a job", lambda: _torch(cluster)),
        run_check("rename and lock from a job", lambda: check_shared_folder(paths)),
        run_check("data in a job", lambda: _data(experiment)),
        run_check("tracking store from a job", lambda: check_tracking_server(cluster.tracking)),
    ]
    content = {
        "host": hostname(),
        "findings": [asdict(f) for f in seen],
        "ahead": clock_offset(paths),
    }
    atomic.write(paths.findings, json.dumps(content))


def run_check(what: str, look_at: Callable[[], str]) -> Finding:
    """What looking at it gave; a refusal or an error of the system is a cross."""
    try:
        return Finding(what, True, look_at())
    except (InputError, EnvironmentFailure, OSError) as error:
        return Finding(what, False, " ".join(str(error).split()))


def check_shared_folder(paths: DoctorPaths) -> str:
    """Try what a shared folder must do for a sweep."""
    atomic.write(paths.probe, "one")
    atomic.write(paths.probe, "two")
    if paths.probe.read_text() != "two":
        raise EnvironmentFailure(
            f"a renamed file is not seen at once in {paths.folder}; use --runs"
        )
    for _ in range(2):
        with Lock(paths.lock, stale_after=60.0, patience=30.0).hold() as turn:
            turn.check()
    return "files replace each other whole, and a lock has one holder"


def check_tracking_server(tracking: str | None) -> str:
    """Ask the tracking server for an experiment, if there is a server.

    Not whether it is well: MLflow tells that to hosts whose other questions it refuses.

    Raises:
        WorldError: it does not answer, or refuses; with the mend.
    """
    tracking = tracking or os.environ.get("MLFLOW_TRACKING_URI")
    if tracking is None or not tracking.startswith("http"):
        return "a database among the runs; nothing to reach"
    request = urllib.request.Request(f"{tracking.rstrip('/')}{QUESTION}", headers=_authorization())  # noqa: S310 (http was seen to)
    try:
        # A lab's own certificate, where MLflow is told of it.
        trusted = ssl.create_default_context(cafile=os.environ.get(CERTIFICATE) or None)
        with urllib.request.urlopen(request, timeout=REACH_SECONDS, context=trusted):  # noqa: S310
            return f"{tracking} answers"
    except urllib.error.HTTPError as error:
        error.close()
        mend = _FIXES.get(error.code, "see the server's log")
        raise EnvironmentFailure(f"{tracking} answers {error.code}: {mend}") from error
    except OSError as error:
        reason = getattr(error, "reason", error)
        mend = "start it, or leave tracking out: sweeps sync sends what is missing later"
        raise EnvironmentFailure(f"{tracking} does not answer ({reason}); {mend}") from error


def _authorization() -> dict[str, str]:
    """Who asks, as MLflow's own client says it."""
    if token := os.environ.get("MLFLOW_TRACKING_TOKEN"):
        return {"Authorization": f"Bearer {token}"}
    if user := os.environ.get("MLFLOW_TRACKING_USERNAME"):
        pair = f"{user}:{os.environ.get('MLFLOW_TRACKING_PASSWORD', '')}"
        return {"Authorization": f"Basic {base64.b64encode(pair.encode()).decode()}"}
    return {}


def _torch(cluster: Cluster) -> str:
    said = subprocess.run(
        [sys.executable, "-c", TORCH],
        capture_output=True,
        text=True,
        timeout=COMMAND_SECONDS,
        check=False,
    )
    python = f"{sys.executable}, Python {sys.version.split()[0]}"
    if said.returncode:
        last = said.stderr.strip().rpartition("\n")[2]
        raise EnvironmentFailure(f"{python}: {last}; see the setup lines of the cluster file")
    if cluster.gpus and "no CUDA device" in said.stdout:
        given = os.environ.get("CUDA_VISIBLE_DEVICES", "none")
        mend = "a build of torch for CPUs, or no gres in the cluster file"
        raise EnvironmentFailure(
            f"{python}: torch {said.stdout.strip()} (SLURM gave {given}): {mend}"
        )
    return f"{python}, torch {said.stdout.strip()}"


def _data(experiment: Path) -> str:
    resolved = read_experiment(experiment)
    try:
        return f"readable, fingerprint {resolved.trainer.prepare(resolved.corner_configs())[:16]}"
    except ValueError as error:
        raise InputError(str(error)) from error


def clock_offset(paths: DoctorPaths) -> float:
    """How far this machine's clock is ahead of the file server's, in seconds."""
    probe = paths.clock(hostname())
    probe.touch()
    return time.time() - probe.stat().st_mtime
