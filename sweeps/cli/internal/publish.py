"""`sweeps publish`: the process that sends one sweep to MLflow."""

from pathlib import Path

from sweeps.tracking.sync import publish_until_terminated


def publish(folder: Path) -> None:
    """Keep MLflow up to date with one sweep (started by a supervisor or a watcher)."""
    publish_until_terminated(folder)
