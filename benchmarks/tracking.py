"""What tracking costs the training thread, with MLflow's server there and with it away.

Pairs of the same sweep of real VQ-VAE trials, in turn: one with a server that answers, one with a
port where nobody does. In each the time from an epoch's end to the beginning of the next is taken
inside the worker: all that a sweep does then (row, study, verdict, whether to leave) is in it.
Afterwards the server comes back, `sweeps sync` is typed once, and MLflow must be complete.
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
    """The VQ-VAE's trainer, with a stopwatch between its epochs."""

    def __getattr__(self, name: str) -> Any:
        """All but `fit` is the trainer's own."""
        from vqvae.sweep import trainer

        return getattr(trainer, name)

    def fit(self, *given: Any, should_stop: Callable[[], bool], **named: Any) -> Iterator[Any]:
        """Train; write down what each epoch took, and what came between it and the next."""
        from vqvae.sweep import trainer

        asking = 0.0

        def asked() -> bool:
            nonlocal asking
            started = time.perf_counter()
            answer = should_stop()
            asking += time.perf_counter() - started
            return answer

        for epoch in trainer.fit(*given, should_stop=asked, **named):
            started = time.perf_counter()
            yield epoch
            between = time.perf_counter() - started
            with Path(os.environ[LOG]).open("a") as log:
                log.write(json.dumps([epoch.seconds, between + asking]) + "\n")
            asking = 0.0


trainer = Timed()


@dataclass(frozen=True)
class Sample:
    """One sweep: medians over its epochs, in seconds."""

    epoch: float
    between: float


def main() -> None:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=5)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="tracking-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        with mlflow_server(folder / "server") as port:
            _measure(folder, Line(port), given.pairs)


def _measure(folder: Path, line: Line, pairs: int) -> None:
    run(folder, line, "warm-up")  # makes the data, and their cache
    samples: dict[str, list[Sample]] = {"open": [], "away": []}
    for at in range(pairs):
        for mode in ("open", "away") if at % 2 == 0 else ("away", "open"):
            line.become(mode)
            samples[mode].append(run(folder, line, f"{mode}-{at}"))
            line.become("open")
    print("| server | epoch | between epochs | share of an epoch |\n|---|---|---|---|")
    for mode, found in samples.items():
        epoch = statistics.median(s.epoch for s in found)
        between = statistics.median(s.between for s in found)
        share = statistics.median(s.between / s.epoch for s in found)
        print(f"| {mode} | {epoch:.3f} s | {between * 1000:.1f} ms | {share:.2%} |")
    both = zip(samples["away"], samples["open"], strict=True)
    ratios = [away.epoch / there.epoch for away, there in both]
    shown = ", ".join(f"{ratio:.3f}" for ratio in ratios)
    print(f"\nan epoch with the server away / there: median {statistics.median(ratios):.3f}")
    print(f"(of {shown})")
    for at in range(pairs):
        print(complete(folder, line, f"away-{at}"), flush=True)


def run(folder: Path, line: Line, name: str) -> Sample:
    """One sweep to its end."""
    site = folder / name
    clusters = site / "experiments" / "clusters"
    clusters.mkdir(parents=True)
    (clusters / "here.toml").write_text(CLUSTER.format(uri=line.uri))
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
            raise SystemExit(f"error: the quickstart has no {old!r} any more")
        text = text.replace(old, new)
    (site / "sweep.toml").write_text(text)
    log = site / "epochs"
    _sweeps(site, "run", "sweep.toml", "--cluster", "here", **{LOG: str(log)})
    rows = [json.loads(row) for row in log.read_text().splitlines()]
    return Sample(*(statistics.median(column) for column in zip(*rows, strict=True)))


def complete(folder: Path, line: Line, name: str) -> str:
    """Type `sweeps sync` once, and look whether MLflow has every epoch."""
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
    more = {"PYTHONPATH": str(ROOT), "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1", **environment}
    subprocess.run(command, cwd=site, env=os.environ | more, check=True, stdout=subprocess.DEVNULL)


if __name__ == "__main__":
    main()
