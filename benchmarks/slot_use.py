"""How much of the time that SLURM allocates is spent in epochs, for three ways to submit trials.

`python -m benchmarks.slot_use` starts the test cluster (see tests/slurm). Here a slot is one core
that SLURM allocates, and there are two. The same real VQ-VAE trials are run three times: one long
job per slot, as sweeps are submitted by default; one job per trial; and batches of two jobs, each
submitted when the batch before it has ended, as a batch-synchronous launcher does it. The search is
random and without pruning, so the trials are the same each time. It prints a table.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from sweeps.filesystem import atomic
from sweeps.storage.job_record import read_job_record
from sweeps.storage.paths import RunsPaths, SweepPaths
from sweeps.storage.sweep import open_sweep
from sweeps.storage.trial_record import read_curve
from tests.slurm.cluster import why_not

ROOT = Path(__file__).parents[1]
SLOTS = 2
EXPERIMENT = """
name = "{name}"
trials = {trials}
[objective]
metric = "val/ssim"
[sampler]
kind = "random"
[trial.data]
root = "data"
[trial.data.phantom]
train_patients = 8
validate_patients = 2
test_patients = 3
volumes = 2
slices = 14
height = 128
width = 64
[trial.model]
width = 32
code_dimension = 16
residual_width = 16
[trial.training]
epochs = {epochs}
[space]
"training.learning_rate" = {{ low = 3e-4, high = 1e-2, log = true }}
"training.batch_size" = [4, 8, 16, 32]
"""
CLUSTER = """
scheduler = "slurm"
partition = "slots"
account = "other"
cpus = 1
threads = 1
time_limit = "50"
jobs = {slots}
max_running_jobs = {slots}
workers = 1
trials_per_job = {trials_per_job}
"""


@dataclass(frozen=True)
class Use:
    """How the allocated time was used, in seconds.

    Attributes:
        wall: from the start of the first job to the end of the last one.
        allocated: from start to end, summed over the jobs.
        startup: from the start to the first epoch, summed over the jobs.
        epochs: time in epochs, summed over the trials.
        trials: the shortest and the longest trial.
    """

    wall: float
    allocated: float
    startup: float
    epochs: float
    trials: tuple[float, float]

    @property
    def share_after_startup(self) -> float:
        """The share of epochs in the allocated time after start-up."""
        return self.epochs / (self.allocated - self.startup)

    @property
    def share_of_all(self) -> float:
        """The share of epochs in the whole allocated time."""
        return self.epochs / self.allocated


@dataclass(frozen=True)
class Bench:
    """A folder like a clone of this repository, on the test cluster.

    Attributes:
        folder: the folder.
        trials: the number of trials.
        epochs: the number of epochs of each trial.
        wrappers: a folder of wrappers that record SLURM commands, put first on the PATH. If it is
            given, each sweep has a watcher.
    """

    folder: Path
    trials: int
    epochs: int
    wrappers: Path | None = None

    def long_jobs(self) -> Use:
        """Measure one long job per slot."""
        return self._measure("long", 0, [self.trials])

    def job_per_trial(self) -> Use:
        """Measure one job per trial, all in the queue at once."""
        return self._measure("single", 1, [self.trials])

    def batches(self) -> Use:
        """Measure batches of one job per slot; a batch starts when the one before has ended."""
        return self._measure("batches", 1, range(SLOTS, self.trials + 1, SLOTS))

    def _measure(self, name: str, trials_per_job: int, totals: "range | list[int]") -> Use:
        clusters = self.folder / "experiments" / "clusters"
        clusters.mkdir(parents=True, exist_ok=True)
        text = CLUSTER.format(slots=SLOTS, trials_per_job=trials_per_job)
        (clusters / "bench.toml").write_text(text)
        text = EXPERIMENT.format(name=name, trials=self.trials, epochs=self.epochs)
        (self.folder / f"{name}.toml").write_text(text)
        paths = RunsPaths(self.folder / "runs").sweep(name)
        for total in totals:
            options = ["--cluster", "bench", "--trials", str(total)]
            self.sweeps("run", f"{name}.toml", *options, *([] if self.wrappers else ["--no-watch"]))
            wait_for(open_sweep(paths).is_over)
            wait_for(lambda: not call("squeue", "--me", "--noheader"))
        return use_of(paths)

    def sweeps(self, *arguments: str) -> None:
        """Run a command of `sweeps` in the folder, as a person types it."""
        command = [sys.executable, "-m", "sweeps", *arguments]
        path = f"{self.wrappers}:{os.environ['PATH']}" if self.wrappers else os.environ["PATH"]
        environment = os.environ | {"PATH": path}
        subprocess.run(
            command, cwd=self.folder, check=True, stdout=subprocess.DEVNULL, env=environment
        )


def use_of(paths: SweepPaths) -> Use:
    """Add up the allocated time of a finished sweep's jobs and the time of its trials."""
    first: dict[str, float] = {}
    in_epochs, trials = 0.0, []
    for trial in paths.trials():
        rows = read_curve(trial)
        job = atomic.read_json(trial.attempts()[0].claim)["job"]
        began = rows[0].timestamp / 1000 - rows[0].seconds
        first[job] = min(began, first.get(job, began))
        trials.append(sum(row.seconds for row in rows))
        in_epochs += trials[-1]
    spans = {job: span_of(paths, job) for job in first}
    allocated = sum(end - start for start, end in spans.values())
    startup = sum(first[job] - start for job, (start, _) in spans.items())
    wall = max(end for _, end in spans.values()) - min(start for start, _ in spans.values())
    return Use(wall, allocated, startup, in_epochs, (min(trials), max(trials)))


def span_of(paths: SweepPaths, token: str) -> tuple[float, float]:
    """Return when SLURM started and ended a job, in seconds since 1970."""
    number = read_job_record(paths.job(token)).id
    answer = call("sacct", "-X", "-n", "-P", "-j", number, "-o", "Start,End")
    start, end = answer.splitlines()[0].split("|")
    return tuple(time.mktime(time.strptime(t, "%Y-%m-%dT%H:%M:%S")) for t in (start, end))  # type: ignore[return-value]


def call(*command: str) -> str:
    """Run one of SLURM's commands, and return what it prints."""
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def wait_for(condition: Callable[[], object]) -> None:
    """Wait until the condition is true; check it every half second."""
    while not condition():
        time.sleep(0.5)


@contextmanager
def running_cluster() -> Iterator[Path]:
    """Run the test cluster while the block runs, and yield a folder; both are removed after it."""
    if (reason := why_not()) is not None:
        sys.exit(f"error: {reason}")
    with tempfile.TemporaryDirectory(prefix="benchmark-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        folder.chmod(0o755)  # the database runs as another user
        keeper = subprocess.Popen(
            [sys.executable, "-m", "tests.slurm.cluster", str(folder / "slurm")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
            start_new_session=True,
        )
        if keeper.stdin is None or keeper.stdout is None or keeper.stdout.readline() != "ready\n":
            sys.exit("error: the cluster did not start")
        os.environ["SLURM_CONF"] = str(folder / "slurm" / "slurm.conf")
        os.environ["PATH"] += ":/usr/sbin"
        os.environ["PYTHONPATH"] = str(ROOT)
        yield folder
        keeper.stdin.close()
        keeper.wait(timeout=60)


def main() -> None:
    """Measure each arrangement, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=8, help="trials of each sweep")
    parser.add_argument("--epochs", type=int, default=24, help="epochs of each trial")
    parser.add_argument("--rounds", type=int, default=1, help="how often to run each arrangement")
    arguments = parser.parse_args()
    with running_cluster() as folder:
        shares = "in epochs, after start-up | in epochs, of all"
        print(f"| arrangement | wall time | {shares} | start-up, all jobs | one trial |")
        print("|---|---|---|---|---|---|")
        for index in range(arguments.rounds):
            site = folder / f"round-{index}"
            bench = Bench(site, arguments.trials, arguments.epochs)
            for label, measure in {
                "one long job per slot": bench.long_jobs,
                "batches of two": bench.batches,
                "one job per trial": bench.job_per_trial,
            }.items():
                print(row_of(label, measure()), flush=True)
            shutil.rmtree(site, ignore_errors=True)


def row_of(label: str, use: Use) -> str:
    """Return a row of the table."""
    low, high = use.trials
    shares = (f"{use.share_after_startup:.1%}", f"{use.share_of_all:.1%}")
    cells = (label, f"{use.wall:.0f} s", *shares)
    return f"| {' | '.join(cells)} | {use.startup:.0f} s | {low:.0f} to {high:.0f} s |"


if __name__ == "__main__":
    main()
