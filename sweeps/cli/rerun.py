"""`sweeps rerun`: train a trial's configuration again, beside the sweep."""

import shlex
from collections.abc import Mapping
from typing import Annotated

import typer

from sweeps.cli.show import TrialName
from sweeps.cli.sweep_arguments import (
    Runs,
    SweepOption,
    find_named_trial,
    program_words,
    runs_option,
)
from sweeps.storage.paths import TrialPaths
from sweeps.storage.sweep import Sweep
from sweeps.storage.trial_record import (
    TrialResult,
    best_checkpoint,
    read_curve,
    read_result,
)
from sweeps.text import count, on_own_line, printable, shown_path
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
    opened, paths = find_named_trial(trial, sweep, runs)
    again = make_rerun(opened, paths, seed)
    metric = opened.experiment.objective.metric
    for epoch in again.train():
        value = epoch.metrics.get(metric)
        shown = "" if value is None else f": {metric} {value:.4f}"
        print(printable(f"epoch {epoch.epoch} of {again.spec.epochs}{shown}"), flush=True)
    _print_results(opened, paths, again.paths)
    _print_what_next(opened, paths, again.paths)


def _print_results(sweep: Sweep, trial: TrialPaths, again: TrialPaths) -> None:
    """Print both results, and both values at one epoch: a trial may have been pruned."""
    metric = sweep.experiment.objective.metric
    print(printable(f"rerun: {_describe(read_result(again), metric)}"))
    print(printable(f"trial {trial.name}: {_describe(read_result(trial), metric)}"))
    print(printable(compared(_curve(again, metric), _curve(trial, metric), metric)))


def _curve(trial: TrialPaths, metric: str) -> dict[int, float]:
    """Return the values of a metric by epoch."""
    return {row.epoch: row.metrics[metric] for row in read_curve(trial) if metric in row.metrics}


def compared(rerun: Mapping[int, float], trial: Mapping[int, float], metric: str) -> str:
    """Return in one line how a rerun and its trial compare at the last epoch that both reached.

    Args:
        rerun: the metric by epoch in the rerun.
        trial: the same in the trial.
        metric: its name.
    """
    both = rerun.keys() & trial.keys()
    if not both:
        return f"there is no epoch in which both have {metric}, so they cannot be compared"
    epoch = max(both)
    gain = rerun[epoch] - trial[epoch]
    values = f"{metric} {rerun[epoch]:.4f} in the rerun and {trial[epoch]:.4f} in the trial"
    word = "higher" if gain > 0 else "lower"
    same = f"{gain:+.4f}" in {"+0.0000", "-0.0000"}
    difference = "they are the same" if same else f"the rerun is {abs(gain):.4f} {word}"
    return f"at epoch {epoch}, the last that both reached: {values}; {difference}"


def _print_what_next(sweep: Sweep, trial: TrialPaths, again: TrialPaths) -> None:
    """Print where the rerun's files and its model are, and the command that shows the trial."""
    print(printable(on_own_line("folder of the rerun", shown_path(again.folder))))
    checkpoint = best_checkpoint(again)
    if checkpoint is not None:
        print(printable(on_own_line("its model", shown_path(checkpoint))))
    words = [*program_words("sweeps"), "show", str(trial.number), "--sweep", sweep.paths.name]
    command = shlex.join([*words, *runs_option(sweep)])
    print(printable(on_own_line("look at the trial with", command)))


def _describe(result: TrialResult | None, metric: str) -> str:
    if result is None:
        return "has not ended"
    if result.best_epoch is not None and result.value is not None:
        return (
            f"{result.state.value} after {count(result.epochs, 'epoch')}, the best {metric} "
            f"{result.value:.4f} at epoch {result.best_epoch}"
        )
    return f"{result.state.value}: {result.reason}"
