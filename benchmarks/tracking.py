"""How much time tracking costs the training thread, with and without an MLflow server.

The same sweep of real VQ-VAE trials is run in pairs: once with a server that is available, once
with a port where no server answers. The worker measures the time from the end of an epoch to the
start of the next. It covers all that a sweep does between two epochs: it writes the row, reports to
the study, gets the pruning decision, and checks whether to leave. After that the server is
available again, `sweeps sync` is run once, and MLflow must be complete.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlflow.tracking import MlflowClient

from sweeps.storage.paths import RunsPaths
from sweeps.storage.sweep import open_sweep
from sweeps.storage.trial_record import read_curve
from tests.faults.server import Line, mlflow_server

ROOT = Path(__file__).parents[1]
LOG = "TRACKING_BENCH_LOG"
TRIALS = 2

CLUSTER = """
scheduler = "local"
workers = 1
threads = 1
tracking = "{uri}"
"""


class Timed:
    """The VQ-VAE's trainer, which also measures the time between its epochs."""

    def __getattr__(self, name: str) -> Any:
        """Return the trainer's own attribute; only `fit` is replaced."""
        from vqvae.sweep import trainer

        return getattr(trainer, name)

    def fit(self, *args: Any, should_stop: Callable[[], bool], **kwargs: Any) -> Iterator[Any]:
        """Train, and log the time of each epoch and the time between it and the next."""
        from vqvae.sweep import trainer

        in_should_stop = 0.0

        def timed_should_stop() -> bool:
            nonlocal in_should_stop
            started = time.perf_counter()
            answer = should_stop()
            in_should_stop += time.perf_counter() - started
            return answer

        for epoch in trainer.fit(*args, should_stop=timed_should_stop, **kwargs):
            started = time.perf_counter()
            yield epoch
            between = time.perf_counter() - started
            with Path(os.environ[LOG]).open("a") as log:
                log.write(json.dumps([epoch.seconds, between + in_should_stop]) + "\n")
            in_should_stop = 0.0


trainer = Timed()


@dataclass(frozen=True)
class Sample:
    """The times of one sweep: medians over its epochs, in seconds."""

    epoch: float
    between: float


def main() -> None:
    """Run the pairs of sweeps, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=5, help="number of pairs of sweeps")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="tracking-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        with mlflow_server(folder / "server") as port:
            _measure(folder, Line(port), arguments.pairs)


def _measure(folder: Path, line: Line, pairs: int) -> None:
    run(folder, line, "warm-up")  # creates the data and their cache
    samples: dict[str, list[Sample]] = {"open": [], "away": []}
    for index in range(pairs):
        for mode in ("open", "away") if index % 2 == 0 else ("away", "open"):
            line.become(mode)
            samples[mode].append(run(folder, line, f"{mode}-{index}"))
            line.become("open")
    print("| server | one epoch | between two epochs | share of an epoch |\n|---|---|---|---|")
    for mode, label in {"open": "available", "away": "unavailable"}.items():
        epoch = statistics.median(s.epoch for s in samples[mode])
        between = statistics.median(s.between for s in samples[mode])
        share = statistics.median(s.between / s.epoch for s in samples[mode])
        print(f"| {label} | {epoch:.3f} s | {between * 1000:.1f} ms | {share:.2%} |")
    pairs_of_samples = zip(samples["away"], samples["open"], strict=True)
    ratios = [without.epoch / with_server.epoch for without, with_server in pairs_of_samples]
    shown = ", ".join(f"{ratio:.3f}" for ratio in ratios)
    median = statistics.median(ratios)
    print(f"\ntime of an epoch, server unavailable / available: median {median:.3f} of {shown}")
    for index in range(pairs):
        print(sync_and_check(folder, line, f"away-{index}"), flush=True)


def run(folder: Path, line: Line, name: str) -> Sample:
    """Run one sweep to its end, and return its times."""
    site = folder / name
    clusters = site / "experiments" / "clusters"
    clusters.mkdir(parents=True)
    (clusters / "bench.toml").write_text(CLUSTER.format(uri=line.uri))
    text = (ROOT / "experiments" / "quickstart.toml").read_text()
    for old, new in {
        'name = "quickstart"': f'name = "{name}"\ntrainer = "benchmarks.tracking:trainer"',
        "trials = 12": f"trials = {TRIALS}",
        "epochs = 9": "epochs = 5",
        'root = "data/phantom-quickstart"': f'root = "{folder / "data"}"',
        'kind = "successive_halving"\nmin_epochs = 3\nreduction = 3\nrivals = 3': 'kind = "none"',
        '"training.batch_size" = [8, 16, 32]': '"training.batch_size" = [16]',
        '"model.codebook_size" = [64, 128, 256]': '"model.codebook_size" = [128]',
    }.items():
        if old not in text:
            raise SystemExit(f"error: experiments/quickstart.toml does not contain {old!r}")
        text = text.replace(old, new)
    (site / "sweep.toml").write_text(text)
    log = site / "epochs"
    _sweeps(site, "run", "sweep.toml", "--cluster", "bench", **{LOG: str(log)})
    rows = [json.loads(row) for row in log.read_text().splitlines()]
    return Sample(*(statistics.median(column) for column in zip(*rows, strict=True)))


def sync_and_check(folder: Path, line: Line, name: str) -> str:
    """Run `sweeps sync` once, and report whether MLflow has every epoch."""
    _sweeps(folder / name, "sync", name)
    sweep = open_sweep(RunsPaths(folder / name / "runs").sweep(name))
    client = MlflowClient(tracking_uri=line.uri)
    experiment = client.get_experiment_by_name(name)
    found = {run.info.run_name: run for run in client.search_runs([experiment.experiment_id])}
    points = rows = 0
    for trial in sweep.paths.trials():
        run_id = found[trial.name].info.run_id
        points += len(client.get_metric_history(run_id, "val/ssim"))
        rows += len(read_curve(trial))
    state = "complete" if points == rows and len(found) == TRIALS + 1 else "NOT complete"
    return f"{name}: {len(found)} runs, {points} points of {rows} epochs after one sync: {state}"


def _sweeps(site: Path, *arguments: str, **environment: str) -> None:
    command = [sys.executable, "-m", "sweeps", *arguments]
    extra = {"PYTHONPATH": str(ROOT), "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1", **environment}
    subprocess.run(command, cwd=site, env=os.environ | extra, check=True, stdout=subprocess.DEVNULL)


if __name__ == "__main__":
    main()
