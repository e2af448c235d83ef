"""A sweep under test: its folder, its real commands, and a simulated person who resumes it."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from sweeps.errors import EnvironmentFailure
from sweeps.jobs.job_status import active_jobs, describe_jobs
from sweeps.storage.paths import RunsPaths, SweepPaths
from sweeps.storage.sweep import Sweep, open_sweep
from tests.faults.inside import DISK, FILLER, mounted, processes
from tests.faults.schedule import FOLDER, Schedule

ROOT = Path(__file__).parents[2]
CLAIM_SECONDS = 2.0
PATIENCE = 120.0
"""Seconds to wait for anything, before the sweep counts as one that does not end."""

HERE = """
scheduler = "local"
workers = 2
threads = 1
claim_seconds = {claim}
{tracking}
"""

ON_SLURM = """
scheduler = "slurm"
partition = "comp3710"
account = "comp3710"
gres = "gpu:1"
gpus = 1
cpus = 2
workers = 2
threads = 1
time_limit = "30"
jobs = 4
max_running_jobs = 1
claim_seconds = {claim}
setup = ["export SWEEPS_HOST=$SLURMD_NODENAME"]
{tracking}
"""

TINY = """
name = "{name}"
trials = {trials}
trainer = "tests.faults.injector:tiny"
[objective]
metric = "val/score"
[sampler]
startup_trials = 4
[trial.training]
epochs = 6
seconds = 0.1
[space]
"training.optimizer" = ["adam", "sgd"]
"training.batch_size" = [4, 16, 64]
"training.learning_rate" = {{ low = 1e-3, high = 1.0, log = true }}
"""

VQVAE = """
name = "{name}"
trials = {trials}
trainer = "tests.faults.injector:vqvae"
[objective]
metric = "val/ssim"
[sampler]
startup_trials = 4
[trial.data]
root = "{data}"
[trial.data.phantom]
train_patients = 3
validate_patients = 2
test_patients = 1
slices = 4
height = 32
width = 32
[trial.model]
width = 8
residual_width = 4
code_dimension = 4
[trial.training]
epochs = 4
device = "cpu"
[space]
"training.optimizer" = ["adam", "sgd"]
"training.batch_size" = [4, 8]
"model.codebook_size" = [16, 32]
"training.learning_rate" = {{ low = 1e-4, high = 1e-2, log = true }}
"""


class NoEndError(Exception):
    """Something that should have happened did not happen in time."""


@dataclass
class Site:
    """One sweep, used through its commands only, like a person in a terminal.

    Attributes:
        folder: the working folder.
        name: the name of the sweep.
        text: its experiment, with `{name}`, `{trials}` and `{data}` to fill in.
        tracking: MLflow's URI; None for the database in the runs folder.
        small_disk: whether the runs folder is on a small file system of its own.
        cluster: the content of the cluster file.
    """

    folder: Path
    name: str
    text: str
    tracking: str | None = None
    small_disk: bool = False
    cluster: str = HERE
    trials: int = 6
    messages: list[str] = field(default_factory=list)
    """The output of commands that failed."""
    deleted: set[int] = field(default_factory=set)
    """The numbers of trials whose folder was removed."""

    def __post_init__(self) -> None:
        self.schedule = Schedule(self.folder / "schedule")
        self.disk = self.folder / "disk"
        self.has_disk = self.small_disk and mounted(self.disk, 48)
        self.disk.mkdir(exist_ok=True)
        self.paths: SweepPaths = RunsPaths(self.disk / "runs").sweep(self.name)
        clusters = self.folder / "experiments" / "clusters"
        clusters.mkdir(parents=True)
        tracking = f'tracking = "{self.tracking}"' if self.tracking else ""
        (clusters / "faults.toml").write_text(
            self.cluster.format(claim=CLAIM_SECONDS, tracking=tracking)
        )
        data = self.folder.parent / "data"
        filled = self.text.format(name=self.name, trials=self.trials, data=data)
        (self.folder / "sweep.toml").write_text(filled)

    def environment(self, **more: str) -> dict[str, str]:
        """Return the environment variables of the site's processes."""
        return os.environ | {
            "PYTHONPATH": str(ROOT),
            "SWEEPS_RUNS": str(self.paths.runs.folder),
            FOLDER: str(self.schedule.folder),
            "FAULTS_SWEEP": str(self.paths.folder),
            DISK: str(self.disk),
            "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
            "MLFLOW_HTTP_REQUEST_TIMEOUT": "5",
            **more,
        }

    def begin(self, *arguments: str, **environment: str) -> subprocess.Popen[str]:
        """Start a command of `sweeps`."""
        return subprocess.Popen(
            [sys.executable, "-m", "sweeps", *arguments],
            cwd=self.folder,
            env=self.environment(**environment),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def command(self, *arguments: str, **environment: str) -> int:
        """Run a command of `sweeps` and return its exit status.

        Raises:
            NoEndError: it does not end in time, or its output has a traceback.
        """
        process = self.begin(*arguments, **environment)
        try:
            output, _ = process.communicate(timeout=PATIENCE)
        except subprocess.TimeoutExpired:
            process.kill()
            raise NoEndError(f"sweeps {arguments[0]} does not end") from None
        if process.returncode:
            self.messages.append(f"sweeps {arguments[0]}: {output.strip()}")
        if "Traceback" in output:
            raise NoEndError(f"sweeps {arguments[0]} ended with a traceback: {output}")
        return process.returncode

    def run_arguments(self) -> list[str]:
        """Return the arguments that start or resume the sweep."""
        return ["run", "sweep.toml", "--cluster", "faults", "--trials", str(self.trials)]

    def run(self, **environment: str) -> int:
        """Start or resume the sweep, without watching it."""
        return self.command(*self.run_arguments(), "--no-watch", **environment)

    def sweep(self) -> Sweep:
        """Open the sweep."""
        return open_sweep(self.paths)

    def is_over(self) -> bool:
        """Return whether every planned trial has ended."""
        return self.paths.plan.exists() and self.sweep().is_over()

    def resume(self, *, more: bool = False) -> None:
        """Run `make sweep` again if no job runs, like a person who checks from time to time.

        Args:
            more: whether a sweep that is over gets more trials.
        """
        if self.is_over() and more:
            self.trials += 4
            self.run()
        elif not self.is_over() and (
            self._is_idle() or self.sweep().is_stopped() or self._is_told_to_run()
        ):
            self.run()

    def wait_for(self, condition: Callable[[], object], *, more: bool = False) -> None:
        """Wait until `condition` is true; resume the sweep meanwhile where needed.

        Raises:
            NoEndError: it does not become true in time.
        """
        give_up = time.monotonic() + PATIENCE
        while not condition():
            if time.monotonic() > give_up:
                raise NoEndError(f"waited {PATIENCE:.0f} s without success")
            self.resume(more=more)
            time.sleep(0.1)

    def processes(self, *words: str) -> list[int]:
        """Return the site's processes whose command line contains these words."""
        return sorted(processes(str(self.paths.folder), *words))

    def kill(self, *words: str) -> int:
        """Send `kill -9` to such processes; return how many there were."""
        found = self.processes(*words)
        for pid in found:
            os.kill(pid, signal.SIGKILL)
        return len(found)

    def kill_everything(self) -> int:
        """Send `kill -9` to all processes of the sweep: supervisors, workers, publishers, …"""
        return self.kill() + self.kill()  # twice, for processes that were just being started

    def _is_idle(self) -> bool:
        if not self.paths.plan.exists():
            return True
        try:
            return not active_jobs(self.paths)
        except EnvironmentFailure:
            return False

    def _is_told_to_run(self) -> bool:
        """Return whether `sweeps status` says of a job in SLURM that the sweep must run again."""
        try:
            return any("run the sweep again" in line for line in describe_jobs(self.paths))
        except EnvironmentFailure:
            return False

    def free_disk(self) -> None:
        """Remove the file that fills the disk."""
        (self.disk / FILLER).unlink(missing_ok=True)

    def close(self) -> None:
        """End all processes, and unmount the small file system."""
        self.kill_everything()
        if self.has_disk:
            subprocess.run(["umount", "--lazy", str(self.disk)], check=False)
