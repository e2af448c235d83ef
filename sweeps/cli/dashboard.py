"""`sweeps dashboard`: Optuna's web pages of a sweep's study, served on this machine only."""

from typing import Annotated

import typer

from sweeps.cli.sweep_arguments import Name, Runs, find_sweep
from sweeps.search.dashboard import serve_dashboard
from sweeps.storage.sweep import open_sweep


def dashboard(
    name: Name = None,
    runs: Runs = None,
    port: Annotated[
        int,
        typer.Option(min=1, max=65535, help="port of the server; the next free one if it is taken"),
    ] = 8080,
) -> None:
    """Serve optuna-dashboard for a copy of the study on this machine (127.0.0.1)."""
    sweep = open_sweep(find_sweep(name, runs))
    serve_dashboard(sweep.paths, port)
