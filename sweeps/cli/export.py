"""`sweeps export`: the trials of a sweep as a table for other programs."""

import csv
import io
from typing import Annotated

import typer

from sweeps.cli.sweep_arguments import Name, Runs, find_sweep
from sweeps.errors import InputError
from sweeps.monitor.sweep_status import SweepStatus
from sweeps.monitor.watch import current_status
from sweeps.storage.sweep import open_sweep


def export(
    name: Name = None,
    runs: Runs = None,
    as_csv: Annotated[
        bool, typer.Option("--csv", help="print comma-separated values, a line for each trial")
    ] = False,
) -> None:
    """Print the trials of a sweep as a table for other programs."""
    if not as_csv:
        raise InputError("say in which form to export the trials: --csv")
    sweep = open_sweep(find_sweep(name, runs))
    print(csv_table(current_status(sweep), list(sweep.experiment.space)), end="")


def csv_table(status: SweepStatus, searched: list[str]) -> str:
    """Return a table with a line for each trial, after one with the names of the columns.

    Args:
        status: the state of a sweep.
        searched: the dotted paths of the searched hyperparameters, in the order of their columns.
    """
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    fixed = ("number", "name", "state", status.objective.metric, "best_epoch", "epochs", "seconds")
    writer.writerow((*fixed, *searched))
    for trial in status.trials:
        values = (trial.searched.get(path) for path in searched)
        result = (trial.best, trial.best_epoch, trial.epoch, trial.seconds)
        writer.writerow((trial.number, trial.name, trial.state, *result, *values))
    return text.getvalue()
