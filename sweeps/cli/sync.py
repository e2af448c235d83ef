"""`sweeps sync`: bring MLflow up to what the folders say."""

from typing import Annotated

import typer

from sweeps.cli.sweep_arguments import Runs, find_sweeps
from sweeps.errors import EnvironmentFailure
from sweeps.storage.sweep import Sweep
from sweeps.tracking.store import take_over as take_over_lease
from sweeps.tracking.sync import forget_publication, publish_once, store_of_sweep


def sync(
    name: Annotated[str | None, typer.Argument(help="a sweep's name (default: all)")] = None,
    runs: Runs = None,
    rebuild: Annotated[
        bool, typer.Option("--rebuild", help="send everything again, into an empty store")
    ] = False,
    take_over: Annotated[
        bool, typer.Option("--take-over", help="write to the database from this host from now on")
    ] = False,
) -> None:
    """Bring MLflow up to what the folders say."""
    problems = sync_sweeps(find_sweeps(name, runs), rebuild=rebuild, take_over=take_over)
    if problems:
        raise EnvironmentFailure("; ".join(problems))


def sync_sweeps(
    sweeps: list[Sweep], *, rebuild: bool = False, take_over: bool = False
) -> list[str]:
    """Bring MLflow up to what the folders of these sweeps say; what could not be sent, a line each.

    Args:
        sweeps: which.
        rebuild: send everything again.
        take_over: write to the database from this host from now on.
    """
    problems = []
    for sweep in sweeps:
        if take_over:
            take_over_lease(store_of_sweep(sweep))
        if rebuild:
            forget_publication(sweep)
        typer.echo(f"publishing {sweep.paths.name}")
        problem = publish_once(sweep)
        problems += [f"{sweep.paths.name}: {problem}"] if problem else []
    return problems
