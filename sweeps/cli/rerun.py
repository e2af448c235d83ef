"""`sweeps rerun`: train a trial's configuration again, beside the sweep."""

import os
from typing import Annotated

import typer

from sweeps.cli.show import TrialName
from sweeps.cli.sweep_arguments import Runs, SweepOption, find_sweep
from sweeps.storage.sweep import open_sweep
from sweeps.storage.trial_lookup import find_trial
from sweeps.storage.trial_record import TrialResult, read_result
from sweeps.text import on_own_line, printable
from sweeps.workers.rerun import make_rerun


def rerun(
    trial: TrialName,
    seed: Annotated[
        int | None, typer.Option(min=0, help="seed to train with (default: the trial's own)")
    ] = None,
    sweep: SweepOption = None,
    runs: Runs = None,
) -> None:
    """Train a trial's configuration again, here; the sweep does not count it.

    If it was interrupted, the same command continues it.
    """
    opened = open_sweep(find_sweep(sweep, runs, searches=True))
    paths = find_trial(opened, trial)
    again = make_rerun(opened, paths, seed)
    metric = opened.experiment.objective.metric
    for epoch in again.train():
        value = epoch.metrics.get(metric)
        shown = "" if value is None else f": {metric} {value:.4f}"
        print(printable(f"epoch {epoch.epoch} of {again.spec.epochs}{shown}"), flush=True)
    result = read_result(again.paths)
    print(printable(f"rerun: {_describe(result, metric)}"))
    print(printable(f"trial {paths.name}: {_describe(read_result(paths), metric)}"))
    print(printable(on_own_line("folder", os.path.relpath(again.paths.folder))))


def _describe(result: TrialResult | None, metric: str) -> str:
    if result is None:
        return "has not ended"
    if result.best_epoch is not None and result.value is not None:
        return f"{result.state.value}, {metric} {result.value:.4f} at epoch {result.best_epoch}"
    return f"{result.state.value}: {result.reason}"
