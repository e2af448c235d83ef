"""How many SLURM commands a sweep runs, counted in all its processes.

`python -m benchmarks.slurm_queries` starts the test cluster (see tests/slurm). It puts wrappers
that record each command first on the PATH, and jobs and their workers inherit it. Then it
runs these sweeps, each with a watcher until its end: one of 1,000 trials that take no time, under
the rules of Rangpur, and those of `benchmarks.slot_use`. It prints a table.
"""

import argparse
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from benchmarks.slot_use import Bench, call, running_cluster, wait_for
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
"""Like `rangpur.toml`, but with two workers and without conda."""


def instant_trials(bench: Bench, trials: int) -> None:
    """Run a sweep whose trials take milliseconds, with a watcher until its end."""
    clusters = bench.folder / "experiments" / "clusters"
    clusters.mkdir(parents=True, exist_ok=True)
    (clusters / "bench.toml").write_text(CLUSTER)
    settings = {"trials": trials, "epochs": 2, "seconds": 0.0, "pruner": "none"}
    text = EXPERIMENT.format(**settings, bug="false", gate_at=0)
    (bench.folder / "tiny.toml").write_text(text)
    bench.sweeps("run", "tiny.toml", "--cluster", "bench")
    wait_for(lambda: not call("squeue", "--me", "--noheader"))


def row_of(folder: Path, label: str, run: Callable[[Bench], object], trials: int) -> str:
    """Call `run` with the wrappers on the PATH, and return a row of the table."""
    bench = Bench(folder, trials, 24, folder / "commands")
    log = folder / "commands.log"
    put_wrappers(folder / "commands", log)
    began = time.monotonic()
    run(bench)
    minutes = (time.monotonic() - began) / 60
    calls = [call for call in calls_in(log) if not call.starts_steps]
    others = [call for call in calls if not call.submits]
    counts = ", ".join(f"{n} {name}" for name, n in sorted(Counter(c.name for c in calls).items()))
    rate = len(others) / minutes
    submissions = len(calls) - len(others)
    cells = (label, f"{minutes:.1f}", counts, submissions, f"{rate:.2f}", most_in_a_minute(others))
    return f"| {' | '.join(map(str, cells))} |"


def main() -> None:
    """Run the sweeps, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=1000, help="trials that take no time")
    arguments = parser.parse_args()
    with running_cluster() as folder:
        columns = ("sweep", "minutes", "commands", "submissions")
        print(f"| {' | '.join(columns)} | other commands per minute | most in any 60 s |")
        print("|---|---|---|---|---|---|")
        many = f"{arguments.trials:,} trials that take no time"
        for label, run, trials in (
            (many, lambda bench: instant_trials(bench, arguments.trials), arguments.trials),
            ("slot use, one long job per slot", Bench.long_jobs, 8),
            ("slot use, one job per trial", Bench.job_per_trial, 8),
        ):
            print(row_of(folder / label.replace(" ", "-"), label, run, trials), flush=True)


if __name__ == "__main__":
    main()
