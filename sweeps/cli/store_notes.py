"""What a person should know about the tracking store before work begins."""

import typer

from sweeps.errors import EnvironmentFailure
from sweeps.text import one_line
from sweeps.tracking.project_link import link_project
from sweeps.tracking.server import check_tracking_server
from sweeps.tracking.store import Store


def print_notes(store: Store) -> None:
    """Make `mlflow.db` here a link to the runs' database; print what is unexpected about it."""
    if (note := link_project(store)) is not None:
        typer.echo(one_line(note), err=True)


def print_choice(store: Store) -> None:
    """Print where the runs are recorded, if that is not the database among the runs."""
    if store.remote is None:
        return
    typer.echo(one_line(f"MLflow: {store.remote} ({store.chosen_by})"))
    try:
        check_tracking_server(store.remote)
    except EnvironmentFailure as error:
        typer.echo(f"MLflow: {one_line(str(error))}", err=True)
        typer.echo("training does not wait for it; send the runs later with: sweeps sync", err=True)
