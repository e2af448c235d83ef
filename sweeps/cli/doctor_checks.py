"""The checks of `sweeps doctor`, run on this machine and in a job.

Only a job can check how a compute node sees the shared folder, the environment after the setup
lines, the data and the clock.
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
from sweeps.config.resolve import read_experiment
from sweeps.errors import EnvironmentFailure, InputError
from sweeps.filesystem import atomic
from sweeps.filesystem.lock import Lock
from sweeps.filesystem.process import hostname
from sweeps.storage.paths import DoctorPaths

CERTIFICATE = "MLFLOW_TRACKING_SERVER_CERT_PATH"
COMMAND_SECONDS = 120
TORCH = (
    "import torch; available = torch.cuda.is_available(); "
    "print(torch.__version__, torch.cuda.get_device_name(0) if available else 'no CUDA device')"
)
SERVER_SECONDS = 20
SERVER_QUERY = "/api/2.0/mlflow/experiments/search?max_results=1"
_FIXES = {
    401: "set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, for jobs in setup",
    403: "it refuses this host name; start it with --allowed-hosts 'name,name:*'",
    404: "there is no MLflow server at this address",
}


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
        run_check("data in a job", lambda: _data(experiment)),
        run_check("tracking store in a job", lambda: check_tracking_server(cluster.tracking)),
    ]
    content = {
        "host": hostname(),
        "findings": [asdict(finding) for finding in findings],
        "ahead": clock_offset(paths),
    }
    atomic.write(paths.findings, json.dumps(content))


def run_check(name: str, check: Callable[[], str]) -> Finding:
    """Run a check and return its finding; it has failed if it raises one of three errors."""
    try:
        return Finding(name, True, check())
    except (InputError, EnvironmentFailure, OSError) as error:
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


def check_tracking_server(tracking: str | None) -> str:
    """Ask the tracking server for an experiment, if there is a server.

    Its `/health` page is no test: MLflow answers it to hosts whose other requests it refuses.

    Raises:
        EnvironmentFailure: the server does not answer, or refuses; the message says what to do.
    """
    tracking = tracking or os.environ.get("MLFLOW_TRACKING_URI")
    if tracking is None or not tracking.startswith("http"):
        return "a database in the runs folder; no server is used"
    url = f"{tracking.rstrip('/')}{SERVER_QUERY}"
    request = urllib.request.Request(url, headers=_authorization())  # noqa: S310 (it is http)
    try:
        # MLflow's own variable for the certificate of a lab.
        trusted = ssl.create_default_context(cafile=os.environ.get(CERTIFICATE) or None)
        with urllib.request.urlopen(request, timeout=SERVER_SECONDS, context=trusted):  # noqa: S310
            return f"{tracking} answers"
    except urllib.error.HTTPError as error:
        error.close()
        advice = _FIXES.get(error.code, "see the server's log")
        raise EnvironmentFailure(f"{tracking} answers {error.code}: {advice}") from error
    except OSError as error:
        reason = getattr(error, "reason", error)
        advice = "start it, or remove tracking and send the runs later with: sweeps sync"
        raise EnvironmentFailure(f"{tracking} does not answer ({reason}); {advice}") from error


def _authorization() -> dict[str, str]:
    """Return the credentials in the environment, as MLflow's own client sends them."""
    if token := os.environ.get("MLFLOW_TRACKING_TOKEN"):
        return {"Authorization": f"Bearer {token}"}
    if user := os.environ.get("MLFLOW_TRACKING_USERNAME"):
        pair = f"{user}:{os.environ.get('MLFLOW_TRACKING_PASSWORD', '')}"
        return {"Authorization": f"Basic {base64.b64encode(pair.encode()).decode()}"}
    return {}


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
        visible = os.environ.get("CUDA_VISIBLE_DEVICES", "not set")
        advice = "install torch for CUDA, or set gres in the cluster file"
        raise EnvironmentFailure(
            f"{python}: torch {ended.stdout.strip()} (CUDA_VISIBLE_DEVICES: {visible}); {advice}"
        )
    return f"{python}, torch {ended.stdout.strip()}"


def _data(experiment: Path) -> str:
    resolved = read_experiment(experiment)
    try:
        return f"readable, fingerprint {resolved.trainer.prepare(resolved.corner_configs())[:16]}"
    except ValueError as error:
        raise InputError(str(error)) from error


def clock_offset(paths: DoctorPaths) -> float:
    """Return how many seconds this machine's clock is ahead of the file server's."""
    probe = paths.clock(hostname())
    probe.touch()
    return time.time() - probe.stat().st_mtime
