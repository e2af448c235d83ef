"""How much of what SLURM allocates is spent inside epochs, for the same trials sent in three ways.

`python -m benchmarks.slot_use` starts the cluster under test (see tests/slurm) and sends the same
real VQ-VAE trials to two slots of a core each, three times: one long job a slot, as sweeps are
sent by default; one job a trial; and in batches of two, each sent when the one before it is
complete, as a batch-synchronous launcher does it. Random search without pruning, so the trials
are the same whatever came before. Prints a table.
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
    """What became of the allocated time, in seconds summed over the slots.

    Attributes:
        wall: from the first job's start to the last one's end.
        allocated: between each job's start and its end.
        startup: between each job's start and the first epoch in it.
        epochs: inside epochs.
        trials: the longest and the shortest trial.
    """

    wall: float
    allocated: float
    startup: float
    epochs: float
    trials: tuple[float, float]

    @property
    def of_the_rest(self) -> float:
        """The share of epochs in what follows the start-up."""
        return self.epochs / (self.allocated - self.startup)

    @property
    def of_all(self) -> float:
        """The share of epochs in everything."""
        return self.epochs / self.allocated


@dataclass(frozen=True)
class Bench:
    """A folder as a clone would be, on the cluster under test.

    Attributes:
        folder: it.
        trials: how many.
        epochs: of each.
        counted: a folder of commands that note themselves, to be first on the PATH; with it
            somebody watches.
    """

    folder: Path
    trials: int
    epochs: int
    counted: Path | None = None

    def long_jobs(self) -> Use:
        """One long job a slot."""
        return self._measure("long", 0, [self.trials])

    def job_a_trial(self) -> Use:
        """One job a trial, all in the queue at once."""
        return self._measure("single", 1, [self.trials])

    def batches(self) -> Use:
        """As many at a time as there are slots, and the next ones when all of these are done."""
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
            self.sweeps("run", f"{name}.toml", *options, *([] if self.counted else ["--no-watch"]))
            wait_for(open_sweep(paths).is_over)
            wait_for(lambda: not call("squeue", "--me", "--noheader"))
        return use_of(paths)

    def sweeps(self, *arguments: str) -> None:
        """Run one of the commands here, as a person types it."""
        command = [sys.executable, "-m", "sweeps", *arguments]
        path = f"{self.counted}:{os.environ['PATH']}" if self.counted else os.environ["PATH"]
        environment = os.environ | {"PATH": path}
        subprocess.run(
            command, cwd=self.folder, check=True, stdout=subprocess.DEVNULL, env=environment
        )


def use_of(paths: SweepPaths) -> Use:
    """Add up what a finished sweep's jobs were given and what their trials took."""
    first: dict[str, float] = {}
    inside, trials = 0.0, []
    for trial in paths.trials():
        rows = read_curve(trial)
        job = atomic.read_json(trial.attempts()[0].claim)["job"]
        began = rows[0].timestamp / 1000 - rows[0].seconds
        first[job] = min(began, first.get(job, began))
        trials.append(sum(row.seconds for row in rows))
        inside += trials[-1]
    spans = {job: span_of(paths, job) for job in first}
    allocated = sum(end - start for start, end in spans.values())
    startup = sum(first[job] - start for job, (start, _) in spans.items())
    wall = max(end for _, end in spans.values()) - min(start for start, _ in spans.values())
    return Use(wall, allocated, startup, inside, (min(trials), max(trials)))


def span_of(paths: SweepPaths, token: str) -> tuple[float, float]:
    """When SLURM gave a job its slot and when it took it back, in seconds since 1970."""
    number = read_job_record(paths.job(token)).id
    answer = call("sacct", "-X", "-n", "-P", "-j", number, "-o", "Start,End")
    start, end = answer.splitlines()[0].split("|")
    return tuple(time.mktime(time.strptime(t, "%Y-%m-%dT%H:%M:%S")) for t in (start, end))  # type: ignore[return-value]


def call(*command: str) -> str:
    """What one of SLURM's commands answers."""
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def wait_for(condition: Callable[[], object]) -> None:
    """Look every half second."""
    while not condition():
        time.sleep(0.5)


@contextmanager
def cluster_under_test() -> Iterator[Path]:
    """A SLURM of our own while the block runs, and a folder to work in; both go with it."""
    if (reason := why_not()) is not None:
        sys.exit(f"error: {reason}")
    with tempfile.TemporaryDirectory(prefix="benchmark-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        folder.chmod(0o755)  # the database runs as a user of its own
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
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=8)
    parser.add_argument("--epochs", type=int, default=24)
    parser.add_argument("--rounds", type=int, default=1, help="each arrangement, in turn")
    given = parser.parse_args()
    with cluster_under_test() as folder:
        print("| arrangement | wall | after start-up | all | start-up | trials |")
        print("|---|---|---|---|---|---|")
        for at in range(given.rounds):
            site = folder / f"round-{at}"
            bench = Bench(site, given.trials, given.epochs)
            for label, measure in {
                "one long job a slot": bench.long_jobs,
                "batches of two": bench.batches,
                "one job a trial": bench.job_a_trial,
            }.items():
                print(row_of(label, measure()), flush=True)
            shutil.rmtree(site, ignore_errors=True)


def row_of(label: str, use: Use) -> str:
    """A line of the table."""
    low, high = use.trials
    cells = (label, f"{use.wall:.0f} s", f"{use.of_the_rest:.1%}", f"{use.of_all:.1%}")
    return f"| {' | '.join(cells)} | {use.startup:.0f} s | {low:.0f} to {high:.0f} s |"


if __name__ == "__main__":
    main()
