"""`mlflow.db` in the project's folder: a link to the database of the runs.

MLflow's own programs (`mlflow ui`, `mlflow models serve`, a notebook) open `mlflow.db` in the
current folder, and create an empty one where there is none. With the link they find the runs.
"""

import os
import sqlite3
import uuid
from contextlib import closing, suppress
from pathlib import Path

from sweeps.storage.paths import RunsPaths
from sweeps.storage.sweep import runs_folder
from sweeps.tracking.store import Store

_EXPECTED = {"alembic_version", "experiments", "workspaces"}
"""The tables in which MLflow writes a first row by itself."""


def link_project(store: Store) -> str | None:
    """Make `mlflow.db` here a link to the database of the runs, if these are the default runs.

    An empty database, which `mlflow ui` made, is replaced, and so is a link to the database of
    another folder of runs. Anything else is left as it is.

    Returns:
        What a person should know about `mlflow.db` here, in one line; None if there is nothing.
    """
    link, database = Path.cwd() / store.runs.database.name, store.runs.database
    if not store.is_database_here or store.runs != runs_folder() or _is_same(link, database):
        return None
    was_empty = is_empty_store(link)
    if os.path.lexists(link) and not was_empty and not _is_link_to_runs(link):
        advice = f"to see the sweeps: sweeps ui, or mlflow ui in {store.runs.folder}"
        if not link.exists():
            return (
                f"{link} is a link to {os.path.realpath(link)}, which is not there now; "
                f"remove the link if it is no longer needed; {advice}"
            )
        return f"{link} is another store, and mlflow ui shows that one here; {advice}"
    if not _link(link, database) or not was_empty:
        return None
    return f"{link} had no runs; it is now a link to {database}, so that mlflow ui shows the sweeps"


def is_empty_store(database: Path) -> bool:
    """Return whether a file is a store of MLflow in which nobody has written anything."""
    if database.is_symlink() or not database.is_file():
        return False
    if database.stat().st_size == 0:
        return True
    try:
        with closing(sqlite3.connect(f"{database.as_uri()}?mode=ro", uri=True)) as connection:
            found = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
            tables = {name for (name,) in found if not name.startswith("sqlite_")}
            return tables >= _EXPECTED and all(
                _rows(connection, table) <= (table in _EXPECTED) for table in tables
            )
    except sqlite3.Error:
        return False


def _rows(connection: sqlite3.Connection, table: str) -> int:
    quoted = table.replace('"', '""')
    counted = connection.execute(f'SELECT count(*) FROM "{quoted}"')  # noqa: S608 (quoted)
    return int(counted.fetchone()[0])


def _is_link_to_runs(link: Path) -> bool:
    """Return whether it is a link to the database of a runs folder.

    The database may be missing; the folder of its lock shows whose it is. Where that is missing,
    too, the target may be a store of somebody else that is not mounted now.
    """
    target = Path(os.path.realpath(link))  # unlike `resolve`, it accepts links in a circle
    runs = RunsPaths(target.parent)
    return link.is_symlink() and target == runs.database and runs.lock.is_dir()


def _is_same(link: Path, database: Path) -> bool:
    return os.path.realpath(link) == os.path.realpath(database)


def _link(link: Path, database: Path) -> bool:
    """Replace `link` by a link to the database; return False where no link can be made."""
    inside = database.is_relative_to(link.parent)
    draft = link.with_name(f".{link.name}.{uuid.uuid4().hex[:12]}")
    try:
        draft.symlink_to(database.relative_to(link.parent) if inside else database)
        draft.replace(link)
    except OSError:  # the folder is read-only, or its file system has no links
        with suppress(OSError):  # a read-only folder refuses this, too
            draft.unlink(missing_ok=True)
        return False
    return True
