"""What a person should know about the tracking store before work begins."""

import sys

from sweeps.errors import EnvironmentFailure
from sweeps.text import one_line
from sweeps.tracking.project_link import link_project
from sweeps.tracking.server import check_tracking_server
from sweeps.tracking.store import Store


def print_notes(store: Store) -> None:
    """Make `mlflow.db` here a link to the runs' database; print what is unexpected about it."""
    if (note := link_project(store)) is not None:
        print(one_line(note), file=sys.stderr)


def print_choice(store: Store) -> None:
    """Print where the runs are recorded, if that is not the database among the runs.

    A server that does not answer now is named, and the work goes on: what it misses stays in the
    folders.
    """
    if store.remote is None:
        return
    print(one_line(f"the runs are recorded in {store.remote} ({store.chosen_by})"))
    try:
        check_tracking_server(store.remote, seconds=5)
    except EnvironmentFailure as error:
        message = f"{error}; meanwhile the results stay in {store.runs.folder}"
        print(f"warning: {one_line(message)}", file=sys.stderr)
