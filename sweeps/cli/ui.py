"""`sweeps ui`: MLflow's web pages, served on this machine only."""

import sys
from typing import Annotated

import typer

from sweeps.cli.sweep_arguments import Runs, sweeps_by_age
from sweeps.cli.sync import sync_sweeps
from sweeps.storage.sweep import open_sweep, runs_folder
from sweeps.text import one_line
from sweeps.tracking.store import resolve_store


def ui(
    runs: Runs = None,
    port: Annotated[
        int,
        typer.Option(min=1, max=65535, help="port of the server; the next free one if it is taken"),
    ] = 5000,
) -> None:
    """Update MLflow and serve its web pages on this machine (127.0.0.1)."""
    folder = runs_folder(runs)
    sweeps = [open_sweep(paths) for paths in sweeps_by_age(folder)]
    problems = sync_sweeps(sweeps)
    for problem in problems:
        print(f"MLflow is not up to date: {one_line(problem)}", file=sys.stderr)
    from sweeps.tracking.publisher import trials_page_path
    from sweeps.tracking.ui import serve_ui

    store = resolve_store(folder, sweeps[-1].plan.cluster.tracking if sweeps else None)
    searches = [sweep for sweep in sweeps if sweep.plan.confirms is None]
    page = trials_page_path(searches[-1], store) if searches and not problems else ""
    serve_ui(store, port, page)
