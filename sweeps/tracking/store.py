"""The store that MLflow's pages are served from: where it is, and who may write to it.

By default it is an SQLite database among the runs. SQLite on a network file system is safe from
one host at a time, so the first host that publishes takes a lease, and the others leave it to
that one. A database that was moved along with its artifacts is put right on the way.
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
"""Where MLflow's schema keeps absolute places of artifacts, by table."""


@dataclass(frozen=True)
class Store:
    """An MLflow tracking store."""

    uri: str
    runs: RunsPaths

    @property
    def is_database_here(self) -> bool:
        """Whether it is the database among the runs, which one host at a time may write to."""
        return self.uri == _database_uri(self.runs)

    @property
    def identity(self) -> str:
        """What tells this store from another, wherever the runs were moved to."""
        return "here" if self.is_database_here else self.uri

    def artifacts_of(self, sweep: str) -> str | None:
        """Where a sweep's artifacts go; None where the store's server decides."""
        return str(self.runs.artifacts_of(sweep)) if self.is_database_here else None

    def lock(self) -> Lock:
        """The lock that publishers on this file system take turns by."""
        return Lock(self.runs.lock, stale_after=120)


def resolve_store(runs: RunsPaths, tracking: str | None) -> Store:
    """The store a cluster's file names, or `$MLFLOW_TRACKING_URI`, or the database here.

    Raises:
        InputError: the variable holds a password.
    """
    try:
        refuse_credentials(os.environ.get("MLFLOW_TRACKING_URI"))
    except ValueError as error:
        raise InputError(f"MLFLOW_TRACKING_URI: {error}") from error
    return Store(tracking or os.environ.get("MLFLOW_TRACKING_URI") or _database_uri(runs), runs)


def acquire_lease(store: Store) -> bool:
    """Whether this host may write to the store; the first to ask for a free one gets it."""
    if not store.is_database_here:
        return True
    store.runs.lease.parent.mkdir(parents=True, exist_ok=True)
    atomic.create(store.runs.lease, json.dumps({"host": hostname()}))
    return lease_holder(store) == hostname()


def lease_holder(store: Store) -> str | None:
    """The host that may write to the database here; None while none has asked."""
    content = atomic.read_json(store.runs.lease)
    return None if content is None else str(content["host"])


def take_over(store: Store) -> None:
    """Move the lease to this host. Only when nothing publishes on the other one any more."""
    store.runs.lease.parent.mkdir(parents=True, exist_ok=True)
    atomic.write(store.runs.lease, json.dumps({"host": hostname()}))


def check_writable(store: Store) -> None:
    """Refuse a store that cannot be written.

    Raises:
        InputError: the database or its folder cannot be written, or MLflow cannot name it.
    """
    if not store.is_database_here:
        return
    database = store.runs.database
    if set("?%") & set(str(database)):
        raise InputError(f"{database}: MLflow cannot have ? or % there; give another --runs")
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
            f"{database}: the store cannot be written ({reason}); name another place with --runs"
        ) from error


def update_moved_locations(store: Store) -> None:
    """Where the runs were moved, have the database say where its artifacts lie now.

    MLflow keeps absolute places. This rewrites those below the old folder, once, under the
    publishers' lock.
    """
    if not store.is_database_here:
        return
    here = str(store.runs.artifacts)
    content = atomic.read_json(store.runs.store_location)
    if content is not None and content["artifacts"] != here and store.runs.database.exists():
        _rewrite(store.runs.database, content["artifacts"], here)
    if content is None or content["artifacts"] != here:
        atomic.write(store.runs.store_location, json.dumps({"artifacts": here}))


def _rewrite(database: Path, old: str, new: str) -> None:
    connection = sqlite3.connect(database, timeout=30)
    with connection:
        there = {name for (name,) in connection.execute("SELECT name FROM sqlite_master")}
        for table, column in _LOCATIONS.items():
            if table in there:
                connection.execute(
                    f"UPDATE {table} SET {column} = ? || substr({column}, ?) "  # noqa: S608 (names from above)
                    f"WHERE substr({column}, 1, ?) = ?",
                    (new, len(old) + 1, len(old) + 1, old + "/"),
                )
    connection.close()


def _database_uri(runs: RunsPaths) -> str:
    return f"sqlite:///{runs.database}"
