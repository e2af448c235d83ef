"""`sweeps publish`: the process that sends one sweep to MLflow."""

from pathlib import Path
from typing import Annotated

import typer

from sweeps.tracking.sync import publish_until_terminated


def publish(
    folder: Path,
    parent: Annotated[int, typer.Option(help="process id of the process that started this one")],
) -> None:
    """Keep MLflow up to date with one sweep (started by a supervisor or a watcher)."""
    publish_until_terminated(folder, parent)
