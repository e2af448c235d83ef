"""Whether a store can be used from here: written to, or at least read."""

import os
import sqlite3
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path

from sweeps.errors import EnvironmentFailure, InputError
from sweeps.filesystem.disk_space import is_disk_full
from sweeps.filesystem.process import hostname
from sweeps.storage.paths import RunsPaths
from sweeps.tracking.locations import are_outdated, rewrite_locations
from sweeps.tracking.store import Store, acquire_lease, lease_holder, needs_descriptor
from sweeps.tracking.uri import check_uri

_ADVICE = "name another folder with --runs"
_WRITE_ERRORS = (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR_WRITE)


def check_writable(store: Store) -> None:
    """Check that the store can be written; of another store, that its URI can ever work.

    Raises:
        InputError: the database or its folder cannot be written, or MLflow does not accept its
            path or URI.
    """
    if not store.is_database_here:
        check_uri(store)
        return
    database = store.runs.database
    if needs_descriptor(database) and not Path("/proc/self/fd").exists():
        raise InputError(f"{database}: MLflow does not accept ? or % in this path; {_ADVICE}")
    try:
        store.runs.folder.mkdir(parents=True, exist_ok=True)
        if database.exists():
            with closing(sqlite3.connect(database, timeout=10)) as connection:
                connection.execute("BEGIN IMMEDIATE")
                connection.rollback()
        probe = store.runs.probe(str(os.getpid()))
        probe.touch()
        probe.unlink()
    except (OSError, sqlite3.Error) as error:
        if "locked" in str(error):
            return
        reason = getattr(error, "strerror", None) or str(error)
        raise InputError(
            f"{database}: the store cannot be written ({reason}); {_ADVICE}"
        ) from error


def why_not_writable(store: Store) -> str | None:
    """Return why this process may not write to the store; None if it may. A free lease is taken."""
    if (reason := why_no_permission(store)) is not None:
        return reason
    try:
        if acquire_lease(store):
            return None
    except OSError as error:
        return f"{store.runs.folder} cannot be written ({error.strerror})"
    return (
        f"only host {lease_holder(store)} may write to {store.runs.database}; "
        "to write from here, first run: sweeps sync --take-over"
    )


@contextmanager
def readable_store(store: Store) -> Iterator[Store]:
    """Yield the store for a block that only reads; nothing is written among the runs.

    MLflow opens a database for writing. So a database that this process may not write to, or
    whose runs folder was moved, is read from a copy, which is removed at the end of the block.

    Raises:
        EnvironmentFailure: the database cannot be read, or the temporary folder has no place for a
            copy.
    """
    if not store.is_database_here or (_may_write(store) and not are_outdated(store.runs)):
        yield store
        return
    try:
        folder = tempfile.TemporaryDirectory(prefix="sweeps-")
    except OSError as error:
        raise _no_place(store.runs, error) from error
    with folder:
        copy = Path(folder.name) / store.runs.database.name
        _copy(store.runs, copy)
        yield replace(store, copy=copy)


def last_change(store: Store) -> str:
    """Return when the local database was last written, in UTC."""
    changed = time.gmtime(store.runs.database.stat().st_mtime)
    return time.strftime("%Y-%m-%d %H:%M:%S UTC", changed)


def _may_write(store: Store) -> bool:
    return why_no_permission(store) is None and lease_holder(store) in {None, hostname()}


def why_no_permission(store: Store) -> str | None:
    """Return why this process may not write to the store, by permissions or mount.

    None if it may.
    """
    runs = store.runs
    written = [runs.folder, runs.lock.parent, runs.lock]
    written += [runs.database] if store.is_database_here else []
    for path in written:
        if os.access(path, os.F_OK) and not os.access(path, os.W_OK):
            return f"this user may not write to {path}"
    return None


def _copy(runs: RunsPaths, copy: Path) -> None:
    """Copy the database as it is at one moment, also while another process writes to it."""
    source = f"{runs.database.as_uri()}?mode=ro"
    try:
        with (
            closing(sqlite3.connect(source, uri=True, timeout=30)) as original,
            closing(sqlite3.connect(copy)) as target,
        ):
            original.backup(target)
        rewrite_locations(runs, copy)
    except (OSError, sqlite3.Error) as error:
        # The database itself is only read, so an error of writing is one of the copy.
        if is_disk_full(error) or getattr(error, "sqlite_errorcode", None) in _WRITE_ERRORS:
            raise _no_place(runs, error) from error
        raise EnvironmentFailure(
            f"{runs.database} cannot be read ({error}); copy the folder of runs and name the copy "
            "with --runs"
        ) from error


def _no_place(runs: RunsPaths, error: Exception) -> EnvironmentFailure:
    return EnvironmentFailure(
        f"{runs.database} is read from a copy, and the temporary folder has no place for one "
        f"({error}); set $TMPDIR to another folder"
    )
