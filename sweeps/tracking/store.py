"""The MLflow tracking store: where it is, and which host may write to it.

By default it is an SQLite database in the runs folder. On a network file system only one host at a
time can write to SQLite safely. So the first host that publishes takes a lease, and the other hosts
do not publish. If the runs folder was moved, the paths of artifacts in the database are updated.
"""

import json
import os
import sqlite3
from dataclasses import dataclass
from pathlib import Path

from sweeps.config.names import refuse_credentials
from sweeps.errors import InputError
from sweeps.filesystem import atomic
from sweeps.filesystem.lock import Lock
from sweeps.filesystem.process import hostname
from sweeps.storage.paths import RunsPaths

_LOCATIONS = {
    "experiments": "artifact_location",
    "runs": "artifact_uri",
    "logged_models": "artifact_location",
    "model_versions": "storage_location",
}
"""The columns of MLflow's schema that hold absolute paths of artifacts, by table."""


@dataclass(frozen=True)
class Store:
    """An MLflow tracking store."""

    uri: str
    runs: RunsPaths

    @property
    def is_database_here(self) -> bool:
        """Whether it is the database in the runs folder; only one host may write to that."""
        return self.uri == _database_uri(self.runs)

    @property
    def identity(self) -> str:
        """The identity of the store; it stays the same if the runs folder is moved."""
        return "here" if self.is_database_here else self.uri

    def artifacts_of(self, sweep: str) -> str | None:
        """Return the folder of a sweep's artifacts; None if the tracking server decides that."""
        return str(self.runs.artifacts_of(sweep)) if self.is_database_here else None

    def lock(self) -> Lock:
        """Return the lock of the publishers on this file system: one writes at a time."""
        return Lock(self.runs.lock, stale_after=120)


def resolve_store(runs: RunsPaths, tracking: str | None) -> Store:
    """Return the store of the cluster file, of `$MLFLOW_TRACKING_URI`, or the local database.

    Args:
        runs: the runs folder.
        tracking: `tracking` of the cluster file.

    Raises:
        InputError: the variable contains a password.
    """
    try:
        refuse_credentials(os.environ.get("MLFLOW_TRACKING_URI"))
    except ValueError as error:
        raise InputError(f"MLFLOW_TRACKING_URI: {error}") from error
    return Store(tracking or os.environ.get("MLFLOW_TRACKING_URI") or _database_uri(runs), runs)


def acquire_lease(store: Store) -> bool:
    """Return whether this host may write to the store; a free lease goes to the first host."""
    if not store.is_database_here:
        return True
    store.runs.lease.parent.mkdir(parents=True, exist_ok=True)
    atomic.create(store.runs.lease, json.dumps({"host": hostname()}))
    return lease_holder(store) == hostname()


def lease_holder(store: Store) -> str | None:
    """Return the host that may write to the local database; None if no host has the lease yet."""
    content = atomic.read_json(store.runs.lease)
    return None if content is None else str(content["host"])


def take_over(store: Store) -> None:
    """Move the lease to this host. Call it only when the other host does not publish any more."""
    store.runs.lease.parent.mkdir(parents=True, exist_ok=True)
    atomic.write(store.runs.lease, json.dumps({"host": hostname()}))


def check_writable(store: Store) -> None:
    """Check that the store can be written.

    Raises:
        InputError: the database or its folder cannot be written, or MLflow does not accept its
            path.
    """
    if not store.is_database_here:
        return
    database = store.runs.database
    if set("?%") & set(str(database)):
        raise InputError(
            f"{database}: MLflow does not accept ? or % in this path; "
            "name another folder with --runs"
        )
    try:
        store.runs.folder.mkdir(parents=True, exist_ok=True)
        if database.exists():
            with sqlite3.connect(f"file:{database}?mode=rw", uri=True, timeout=10) as connection:
                connection.execute("BEGIN IMMEDIATE")
                connection.rollback()
            connection.close()
        probe = store.runs.probe(str(os.getpid()))
        probe.touch()
        probe.unlink()
    except (OSError, sqlite3.Error) as error:
        if "locked" in str(error):
            return
        reason = getattr(error, "strerror", None) or str(error)
        raise InputError(
            f"{database}: the store cannot be written ({reason}); name another folder with --runs"
        ) from error


def update_moved_locations(store: Store) -> None:
    """Update the paths of artifacts in the local database if the runs folder was moved.

    MLflow stores absolute paths. Those below the old folder are rewritten, once. The caller must
    hold the publishers' lock.
    """
    if not store.is_database_here:
        return
    current = str(store.runs.artifacts)
    content = atomic.read_json(store.runs.store_location)
    if content is not None and content["artifacts"] != current and store.runs.database.exists():
        _rewrite(store.runs.database, content["artifacts"], current)
    if content is None or content["artifacts"] != current:
        atomic.write(store.runs.store_location, json.dumps({"artifacts": current}))


def _rewrite(database: Path, old: str, new: str) -> None:
    connection = sqlite3.connect(database, timeout=30)
    with connection:
        tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master")}
        for table, column in _LOCATIONS.items():
            if table in tables:
                connection.execute(
                    f"UPDATE {table} SET {column} = ? || substr({column}, ?) "  # noqa: S608 (names of _LOCATIONS)
                    f"WHERE substr({column}, 1, ?) = ?",
                    (new, len(old) + 1, len(old) + 1, old + "/"),
                )
    connection.close()


def _database_uri(runs: RunsPaths) -> str:
    return f"sqlite:///{runs.database}"
