"""How often a sweep bothers the scheduler: each of SLURM's commands counted, in all processes.

`python -m benchmarks.politeness` starts the cluster under test (see tests/slurm) and puts commands
that note themselves first on the PATH of whoever starts a sweep, from where jobs and their workers
have it too. Then, each with a watcher that stays: a sweep of 1,000 trials that take no time, under
the rules of Rangpur, and the sweeps of `benchmarks.slot_use`. Prints a table.
"""

import argparse
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from benchmarks.slot_use import Bench, call, cluster_under_test, wait_for
from tests.slurm.counting import calls_in, most_in_a_minute, put_wrappers
from tests.sweeps.conftest import EXPERIMENT

CLUSTER = """
scheduler = "slurm"
partition = "comp3710"
account = "comp3710"
gres = "gpu:1"
gpus = 1
cpus = 4
threads = 1
time_limit = "12:00:00"
jobs = 4
max_running_jobs = 1
workers = 2
"""
"""As `rangpur.toml`, with two workers and without conda."""


def instant_trials(bench: Bench, trials: int) -> None:
    """A sweep of trials of milliseconds, watched to its end."""
    clusters = bench.folder / "experiments" / "clusters"
    clusters.mkdir(parents=True, exist_ok=True)
    (clusters / "bench.toml").write_text(CLUSTER)
    asked = {"trials": trials, "epochs": 2, "seconds": 0.0, "pruner": "none"}
    text = EXPERIMENT.format(**asked, bug="false", gate_at=0)
    (bench.folder / "tiny.toml").write_text(text)
    bench.sweeps("run", "tiny.toml", "--cluster", "bench")
    wait_for(lambda: not call("squeue", "--me", "--noheader"))


def counted(folder: Path, label: str, run: Callable[[Bench], object], trials: int) -> str:
    """A line of the table, for what `run` does."""
    bench = Bench(folder, trials, 24, folder / "commands")
    log = folder / "commands.log"
    put_wrappers(folder / "commands", log)
    began = time.monotonic()
    run(bench)
    minutes = (time.monotonic() - began) / 60
    calls = [call for call in calls_in(log) if not call.starts_steps]
    asked = [call for call in calls if not call.submits]
    kinds = ", ".join(f"{n} {name}" for name, n in sorted(Counter(c.name for c in calls).items()))
    rate = len(asked) / minutes
    submissions = len(calls) - len(asked)
    cells = (label, f"{minutes:.1f}", kinds, submissions, f"{rate:.2f}", most_in_a_minute(asked))
    return f"| {' | '.join(map(str, cells))} |"


def main() -> None:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=1000)
    given = parser.parse_args()
    with cluster_under_test() as folder:
        print("| sweep | minutes | commands | submissions | others a minute | most in 60 s |")
        print("|---|---|---|---|---|---|")
        many = f"{given.trials:,} instant trials"
        for label, run, trials in (
            (many, lambda bench: instant_trials(bench, given.trials), given.trials),
            ("slot use, one long job a slot", Bench.long_jobs, 8),
            ("slot use, one job a trial", Bench.job_a_trial, 8),
        ):
            print(counted(folder / label.replace(" ", "-"), label, run, trials), flush=True)


if __name__ == "__main__":
    main()
