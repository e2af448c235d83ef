"""The places of artifacts in the local database, which stay right when the runs folder is moved.

MLflow stores absolute addresses of artifacts. Those below the old folder are rewritten, once.
"""

import json
import sqlite3
from contextlib import closing
from pathlib import Path

from sweeps.filesystem import atomic
from sweeps.storage.paths import RunsPaths
from sweeps.tracking.store import Store

_LOCATIONS = {
    "experiments": "artifact_location",
    "runs": "artifact_uri",
    "logged_models": "artifact_location",
    "model_versions": "storage_location",
}
"""The columns of MLflow's schema that hold addresses of artifacts, by table."""


def update_moved_locations(store: Store) -> None:
    """Update the addresses of artifacts in the local database if the runs folder was moved.

    The caller must hold the publishers' lock.
    """
    if not store.is_database_here:
        return
    current, recorded = store.runs.artifacts.as_uri(), _recorded(store.runs)
    if recorded not in {None, current} and store.runs.database.exists():
        rewrite_locations(store.runs, store.runs.database)
    if recorded != current:
        atomic.write(store.runs.store_location, json.dumps({"artifacts": current}))


def are_outdated(runs: RunsPaths) -> bool:
    """Return whether the runs folder was moved since its database was written."""
    return _recorded(runs) not in {None, runs.artifacts.as_uri()}


def rewrite_locations(runs: RunsPaths, database: Path) -> None:
    """Make a database name the artifacts where the runs folder is now.

    Args:
        runs: the runs folder.
        database: its database, or a copy of it.
    """
    old, new = _recorded(runs), runs.artifacts.as_uri()
    if old is None or old == new:
        return
    with closing(sqlite3.connect(database, timeout=30)) as connection, connection:
        tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master")}
        for table, column in _LOCATIONS.items():
            if table in tables:
                connection.execute(
                    f"UPDATE {table} SET {column} = ? || substr({column}, ?) "  # noqa: S608 (names of _LOCATIONS)
                    f"WHERE substr({column}, 1, ?) = ?",
                    (new, len(old) + 1, len(old) + 1, old + "/"),
                )


def _recorded(runs: RunsPaths) -> str | None:
    """Return the address of the artifacts at the last write; None before the first one."""
    content = atomic.read_json(runs.store_location)
    return None if content is None else str(content["artifacts"])
