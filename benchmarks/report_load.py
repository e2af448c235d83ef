"""How long a browser needs for the report of a large sweep.

`python -m benchmarks.report_load` writes records of 1,000 trials of 50 epochs that were never
trained, makes their report, opens it several times in headless Chromium, and prints the size of the
page and the seconds until it can be used and until every figure is drawn.

Needs Debian's chromium and chromium-driver.
"""

import argparse
import math
import random
import statistics
import tempfile
import time
from pathlib import Path

from sweeps.config.cluster import Cluster
from sweeps.config.resolve import read_experiment
from sweeps.report.page import write_report
from sweeps.storage.paths import RunsPaths
from sweeps.storage.sweep import Plan, Sweep, create_or_update
from sweeps.storage.trial_record import (
    State,
    TrialResult,
    TrialSpec,
    append_row,
    write_continued,
    write_result,
    write_spec,
)
from sweeps.trainer import FinishedEpoch
from sweeps.workers.claims import claim_after
from tests.browser import start_browser

ROOT = Path(__file__).parents[1]
METRICS = (
    *("train/loss", "train/reconstruction_loss", "train/codebook_loss", "train/commitment_loss"),
    *("train/perplexity", "val/loss", "val/reconstruction_loss", "val/ssim", "val/psnr"),
    *("val/perplexity", "val/codebook_usage"),
)
"""The metrics of the VQ-VAE."""


def main() -> None:
    """Print one line for the page and one for its loading."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])  # type: ignore[union-attr]
    parser.add_argument("--trials", type=int, default=1000)
    parser.add_argument("--epochs", type=int, default=50)
    parser.add_argument("--times", type=int, default=5)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        sweep = make_sweep(RunsPaths(Path(folder)), arguments.trials, arguments.epochs)
        started = time.perf_counter()
        file = write_report(sweep)
        seconds = time.perf_counter() - started
        size = file.stat().st_size / 1e6
        print(f"{arguments.trials} trials of {arguments.epochs} epochs: page of {size:.1f} MB")
        print(f"made in {seconds:.1f} s")
        loads = [seconds_to_load(file) for _ in range(arguments.times)]
        for name, seconds in zip(
            ("usable", "all figures drawn"), zip(*loads, strict=True), strict=True
        ):
            low, middle, high = min(seconds), statistics.median(seconds), max(seconds)
            print(f"{name} after {middle:.2f} s (median of {len(loads)}; {low:.2f} to {high:.2f})")


def make_sweep(runs: RunsPaths, trials: int, epochs: int) -> Sweep:
    """Write a sweep of trials that were never trained."""
    path = ROOT / "experiments" / "quickstart.toml"
    resolved = read_experiment(path, trials)
    plan = Plan(resolved.experiment, Cluster(), "never trained")
    sweep = create_or_update(runs.sweep("quickstart"), resolved, path, plan)
    chance = random.Random(0)
    for number in range(trials):
        _write_trial(sweep, number, epochs, chance)
    return sweep


def _write_trial(sweep: Sweep, number: int, epochs: int, chance: random.Random) -> None:
    """Write the records of one trial; three in four are pruned early, as in a long sweep."""
    optimizer = chance.choice(("adam", "sgd"))
    low, high = (3e-4, 1e-2) if optimizer == "adam" else (1e-2, 2e-1)
    values = {
        "training.optimizer": optimizer,
        "training.batch_size": chance.choice((8, 16, 32)),
        "model.codebook_size": chance.choice((64, 128, 256)),
        "training.learning_rate": math.exp(chance.uniform(math.log(low), math.log(high))),
    }
    config = sweep.resolved.config(values).model_dump(mode="json")
    paths = sweep.paths.trial(number, sweep.resolved.signature_of(values))
    paths.folder.mkdir(parents=True)
    write_spec(paths, TrialSpec(number, values, config, epochs, 1))
    claim = claim_after(paths, 0, "job")
    assert claim is not None
    write_continued(claim.attempt, 0)
    complete = number % 4 == 0
    ended = epochs if complete else max(1, epochs // 5)
    for epoch in range(1, ended + 1):
        metrics = {name: chance.random() + 1 / epoch for name in METRICS}
        append_row(claim.attempt, FinishedEpoch(epoch, metrics, epoch * 1000, 1.0))
    state = State.COMPLETE if complete else State.PRUNED
    write_result(paths, TrialResult(state, chance.random(), ended, ended))


def seconds_to_load(file: Path) -> tuple[float, float]:
    """Return the seconds until the page can be used in a new browser, and until all is drawn.

    It can be used when the table is there and the figures in view are drawn.
    """
    browser = start_browser(file.parent)
    try:
        started = time.perf_counter()
        browser.get(file.as_uri())
        while not browser.execute_script(_USABLE):
            time.sleep(0.02)
        usable = time.perf_counter() - started
        browser.execute_async_script(_DRAW_ALL)
        return usable, time.perf_counter() - started
    finally:
        browser.quit()


_USABLE = """
return document.querySelectorAll("#rows tr").length > 0
    && document.querySelectorAll(".plot .main-svg").length > 0
"""
_DRAW_ALL = """
const done = arguments[arguments.length - 1];
const plots = [...document.querySelectorAll(".plot")].filter((plot) => !plot.dataset.drawn);
Promise.all(plots.map((plot) => draw(plot.id))).then(() => done());
"""


if __name__ == "__main__":
    main()
