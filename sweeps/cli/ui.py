"""`sweeps ui`: MLflow's web pages, served on this machine only."""

import shlex
import sys
from typing import Annotated

import typer

from sweeps.cli.store_notes import print_notes
from sweeps.cli.sweep_arguments import Runs
from sweeps.cli.sync import sync_sweeps
from sweeps.errors import InputError
from sweeps.storage.sweep import Sweep, open_sweep, runs_folder, sweeps_by_age
from sweeps.text import one_line
from sweeps.tracking.access import last_change, readable_store, why_not_writable
from sweeps.tracking.store import Store, resolve_store


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
    store = resolve_store(folder, sweeps[-1].plan.cluster.tracking if sweeps else None)
    if store.is_database_here and (refusal := why_not_writable(store)) is not None:
        _serve_copy(store, sweeps, port, refusal)
        return
    if store.remote is not None and not store.remote.startswith("http"):
        raise InputError(
            f"the runs are recorded in {store.remote} ({store.chosen_by}), not here; to see them: "
            f"mlflow ui --backend-store-uri {shlex.quote(store.remote)}"
        )
    problems = sync_sweeps(sweeps)
    for problem in problems:
        print(f"MLflow is not up to date: {one_line(problem)}", file=sys.stderr)
    print_notes(store)
    from sweeps.tracking.publisher import errors_in_one_line
    from sweeps.tracking.ui import prepare_database, serve

    prepare_database(store)
    with errors_in_one_line(store):
        page = _page(sweeps, store)
    serve(store, port, page)


def _serve_copy(store: Store, sweeps: list[Sweep], port: int, refusal: str) -> None:
    """Serve a copy of a database that this process may not write to."""
    from sweeps.tracking.publisher import errors_in_one_line
    from sweeps.tracking.ui import serve

    with readable_store(store) as copy:
        print(one_line(refusal))
        print(
            f"these pages show a copy of the database (last written {last_change(store)}); changes "
            "made in them are lost"
        )
        with errors_in_one_line(store):
            page = _page(sweeps, copy)
        serve(copy, port, page)


def _page(sweeps: list[Sweep], store: Store) -> str:
    """Return the path of the page with the latest search's trials; empty if there is none."""
    from sweeps.tracking.publisher import trials_page_path

    searches = [sweep for sweep in sweeps if sweep.plan.confirms is None]
    return trials_page_path(searches[-1], store) if searches else ""
