"""`sweeps clean`: list the files that are not needed any more, and remove them with --yes."""

from typing import Annotated

import typer

from sweeps.cli.sweep_arguments import Runs, find_sweeps
from sweeps.storage.cleanup import find_leftovers, remove_leftovers, spare_checkpoints


def clean(
    name: Annotated[
        str | None, typer.Argument(help="name of the sweep (default: all sweeps)")
    ] = None,
    runs: Runs = None,
    checkpoints: Annotated[
        bool,
        typer.Option("--checkpoints", help="also best checkpoints of which MLflow has a copy"),
    ] = False,
    keep: Annotated[
        int, typer.Option(min=0, help="with --checkpoints: how many of the best trials keep theirs")
    ] = 1,
    yes: Annotated[bool, typer.Option("--yes", help="remove the files that are listed")] = False,
) -> None:
    """List files that are not needed any more; remove them with --yes. Safe while sweeps run."""
    everything = []
    for sweep in find_sweeps(name, runs):
        spare = spare_checkpoints(sweep, keep)
        found = find_leftovers(sweep) + ([spare] if spare is not None and checkpoints else [])
        for leftover in found:
            print(f"{sweep.paths.name}: {leftover.describe()}")
        if spare is not None and not checkpoints:
            print(f"{sweep.paths.name}: {spare.describe()} (only with --checkpoints)")
        if yes:
            remove_leftovers(found)
        everything += found
    total = f"{sum(leftover.size for leftover in everything) / 1e6:.1f} MB "
    outcome = "removed" if yes else "can be removed; remove with: --yes"
    print(total + outcome if everything else "nothing to remove")
