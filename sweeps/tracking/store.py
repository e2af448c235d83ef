"""The MLflow tracking store: where it is, and which host may write to it.

By default it is an SQLite database in the runs folder. On a network file system only one host at a
time can write to SQLite safely. So the first host that publishes takes a lease, and the other hosts
do not publish.
"""

import json
import os
from dataclasses import dataclass
from pathlib import Path

from sweeps.config.names import refuse_credentials
from sweeps.errors import InputError
from sweeps.filesystem import atomic
from sweeps.filesystem.lock import Lock
from sweeps.filesystem.process import hostname
from sweeps.storage.paths import RunsPaths

VARIABLE = "MLFLOW_TRACKING_URI"
SQLITE = "sqlite:///"

_descriptors: dict[tuple[int, int], int] = {}
"""Open folders, by device and inode: their paths have characters that MLflow does not accept."""


@dataclass(frozen=True)
class Store:
    """An MLflow tracking store.

    Attributes:
        runs: the runs folder that it belongs to.
        remote: the URI of another store than the database in the runs folder.
        chosen_by: what names the other store: the variable, or a key of the cluster file.
        copy: a copy of the database that is read in its place.
    """

    runs: RunsPaths
    remote: str | None = None
    chosen_by: str = ""
    copy: Path | None = None

    @property
    def is_database_here(self) -> bool:
        """Whether it is the database in the runs folder; only one host may write to that."""
        return self.remote is None

    @property
    def uri(self) -> str:
        """The URI by which this process can open it; the folder of a database must exist."""
        return self.remote or _sqlite_uri(self.copy or self.runs.database)

    @property
    def name(self) -> str:
        """The store as messages name it."""
        return self.remote or str(self.runs.database)

    @property
    def identity(self) -> str:
        """The identity of the store; it stays the same if the runs folder is moved."""
        return self.remote or "here"

    def artifacts_of(self, sweep: str) -> str | None:
        """Return the URI of a sweep's artifacts; None if the tracking server decides that."""
        return self.runs.artifacts_of(sweep).as_uri() if self.is_database_here else None

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
    variable = os.environ.get(VARIABLE)
    try:
        refuse_credentials(variable)
    except ValueError as error:
        raise InputError(f"{VARIABLE}: {error}") from error
    uri = tracking or variable
    if not uri or _names_database(uri, runs):
        return Store(runs)
    return Store(runs, uri, "tracking in the cluster file" if tracking else VARIABLE)


def acquire_lease(store: Store) -> bool:
    """Return whether this host may write to the store; a free lease goes to the first host."""
    if not store.is_database_here:
        return True
    if (holder := lease_holder(store)) is not None:
        return holder == hostname()
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


def _names_database(uri: str, runs: RunsPaths) -> bool:
    """Return whether a URI names the database in the runs folder, by this path or another one."""
    path = uri.removeprefix(SQLITE)
    return path != uri and Path(path).absolute().resolve() == runs.database.resolve()


def _sqlite_uri(database: Path) -> str:
    """Return the URI of a database in an existing folder.

    SQLAlchemy cuts a path at `?`, and decodes `%20`; MLflow creates the folder of a path that it
    has not decoded. So such a folder is named by a descriptor that this process keeps open.
    """
    if not needs_descriptor(database):
        return f"{SQLITE}{database}"
    found = database.parent.stat()
    folder = (found.st_dev, found.st_ino)
    if folder not in _descriptors:
        _descriptors[folder] = os.open(database.parent, os.O_PATH | os.O_CLOEXEC)
    return f"{SQLITE}/proc/self/fd/{_descriptors[folder]}/{database.name}"


def needs_descriptor(database: Path) -> bool:
    """Return whether the path has a character that MLflow does not accept in a URI."""
    return bool(set("?%") & set(str(database)))
