"""`sweeps publish`: the publisher of a job or of a watcher."""

from pathlib import Path

from sweeps.tracking.sync import publish_until_terminated


def publish(folder: Path) -> None:
    """Keep MLflow up with one sweep: what a supervisor starts."""
    publish_until_terminated(folder)
