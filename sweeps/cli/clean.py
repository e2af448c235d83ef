"""`sweeps clean`: show and remove files that nobody needs."""

from typing import Annotated

import typer

from sweeps.cli.sweep_arguments import Runs, find_sweeps
from sweeps.storage.cleanup import find_leftovers, remove_leftovers, spare_checkpoints


def clean(
    name: Annotated[str | None, typer.Argument(help="a sweep's name (default: all)")] = None,
    runs: Runs = None,
    checkpoints: Annotated[
        bool, typer.Option("--checkpoints", help="best checkpoints too that MLflow has copies of")
    ] = False,
    keep: Annotated[int, typer.Option(min=0, help="how many of the best trials' to keep")] = 1,
    yes: Annotated[bool, typer.Option("--yes", help="remove it")] = False,
) -> None:
    """Show what files of the sweeps nobody needs, also while they run; remove them if told."""
    everything = []
    for sweep in find_sweeps(name, runs):
        spare = spare_checkpoints(sweep, keep)
        found = find_leftovers(sweep) + ([spare] if spare is not None and checkpoints else [])
        for leftover in found:
            typer.echo(f"{sweep.paths.name}: {leftover.describe()}")
        if spare is not None and not checkpoints:
            typer.echo(f"{sweep.paths.name}: {spare.describe()} (only with --checkpoints)")
        if yes:
            remove_leftovers(found)
        everything += found
    total = f"{sum(leftover.size for leftover in everything) / 1e6:.1f} MB "
    done = "removed" if yes else "to remove, with --yes"
    typer.echo(total + done if everything else "nothing to remove")
