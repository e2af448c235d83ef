"""A database that was made by another version of MLflow."""

import importlib.util
import re
import shlex
import shutil
import sys
from importlib.metadata import version
from pathlib import Path

from sweeps.tracking.store import SQLITE, Store, needs_descriptor

_OUTDATED = re.compile(r"found version (\w+), but expected \w+")


def schema_message(error: str, store: Store) -> str | None:
    """Return what to do about MLflow's error, in one line; None if it is another error.

    Args:
        error: the text of MLflow's error.
        store: the store that MLflow opened.
    """
    match = _OUTDATED.search(error)
    if match is None:
        return None
    here = version("mlflow")
    if not _is_known(match[1]):
        return (
            f"{store.name} was written by a newer MLflow than {here}, which is installed here; "
            "install that version"
        )
    return (
        f"{store.name} was written by an older MLflow than {here}, which is installed here; "
        f"copy it as a backup, then run: {_upgrade_command(store)}"
    )


def _is_known(revision: str) -> bool:
    """Return whether the installed MLflow has this revision of the schema."""
    spec = importlib.util.find_spec("mlflow")
    folders = spec.submodule_search_locations or [] if spec is not None else []
    return any(list(Path(f).glob(f"store/db_migrations/versions/{revision}_*")) for f in folders)


def _upgrade_command(store: Store) -> str:
    program = shutil.which("mlflow") or str(Path(sys.executable).with_name("mlflow"))
    command = [program if shutil.which("mlflow") is None else "mlflow", "db", "upgrade"]
    database = store.runs.database
    if not store.is_database_here:
        return shlex.join([*command, store.name])
    if not needs_descriptor(database):
        return shlex.join([*command, f"{SQLITE}{database}"])
    upgrade = shlex.join([*command, f"{SQLITE}{database.name}"])
    return f"cd {shlex.quote(str(database.parent))} && {upgrade}"
