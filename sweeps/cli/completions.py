"""What a shell offers as a name: sweeps and trials, found by listing folders."""

import typer

from sweeps.storage.paths import RunsPaths, SweepPaths
from sweeps.storage.sweep import latest_search, runs_folder
from sweeps.storage.trial_lookup import BEST


def sweep_names(context: typer.Context, incomplete: str) -> list[str]:
    """Return the names of the sweeps that begin with what was typed."""
    names = [paths.name for paths in _runs(context).sweeps()]
    return [name for name in names if name.startswith(incomplete)]


def trial_names(context: typer.Context, incomplete: str) -> list[str]:
    """Return the trials of the named or the latest sweep whose names begin with what was typed."""
    found = [trial.name for sweep in _sweep(context) for trial in sweep.trials()] + [BEST]
    return [name for name in found if name.startswith(incomplete)]


def _runs(context: typer.Context) -> RunsPaths:
    return runs_folder(context.params.get("runs"))


def _sweep(context: typer.Context) -> list[SweepPaths]:
    """Return the sweep in a list; an empty one if there is none."""
    name = context.params.get("sweep")
    if name is None:
        latest = latest_search(_runs(context))
        return [] if latest is None else [latest]
    return [paths for paths in _runs(context).sweeps() if paths.name == name]
