"""Whether MLflow can ever use the URI of a tracking store: checked before anything is trained."""

import os
from collections.abc import Callable
from importlib.metadata import entry_points
from pathlib import Path
from urllib.parse import urlsplit

from sweeps.errors import InputError
from sweeps.tracking.store import SQLITE, Store

_DATABASES = ("postgresql", "mysql", "mssql")
_VALID = "https://name:port, http://name:port, sqlite:////folder/file.db, postgresql://…, mysql://…"


def check_uri(store: Store) -> None:
    """Refuse the URI of a store that can never work; a server need not answer now.

    Raises:
        InputError: MLflow does not know such a store, or its file cannot be made.
    """
    if store.remote is None:
        return
    if (reason := _fault(store.remote)) is not None:
        raise InputError(
            f"{store.chosen_by}: {store.remote!r} {reason}; the valid ones are {_VALID}; "
            f"without one, the runs are recorded in {store.runs.database}"
        )


def _fault(uri: str) -> str | None:
    """Return what is wrong with a URI; None if it may work."""
    if any(c.isspace() or not c.isprintable() for c in uri):
        return "has a character that no URI has"
    try:
        return _CHECKS.get(urlsplit(uri).scheme.partition("+")[0], _check_other)(uri)
    except ValueError as error:
        return f"is not a URI ({error})"


def _check_server(uri: str) -> str | None:
    parts = urlsplit(uri)
    return None if parts.hostname and parts.port != 0 else "names no server"


def _check_sqlite(uri: str) -> str | None:
    path = uri.removeprefix(SQLITE).partition("?")[0]
    if not uri.startswith(SQLITE) or path in {"", ":memory:"}:
        return "names no file"
    file = Path(path).absolute()
    if file.exists() and not file.is_file():
        return "is not a file"
    existing = next(folder for folder in file.parents if folder.exists())
    target = file if file.exists() else existing
    may_write = os.access(target, os.W_OK) and existing.is_dir()
    return None if may_write else f"cannot be written ({target})"


def _check_folder(_uri: str) -> str | None:
    allowed = os.environ.get("MLFLOW_ALLOW_FILE_STORE", "").lower() in {"true", "1"}
    return None if allowed else "is a folder, which MLflow does not accept as a store any more"


def _check_other(uri: str) -> str | None:
    """Check a scheme that only a plugin of MLflow, or Databricks, can know."""
    scheme = urlsplit(uri).scheme.partition("+")[0]
    plugins = entry_points(group="mlflow.tracking_store").names
    known = scheme in {*_DATABASES, *plugins} or uri.startswith("databricks")
    return None if known else "is not a store that MLflow knows"


def _check_no_scheme(uri: str) -> str | None:
    return None if uri == "databricks" else _check_folder(uri)


_CHECKS: dict[str, Callable[[str], str | None]] = {
    "http": _check_server,
    "https": _check_server,
    "sqlite": _check_sqlite,
    "file": _check_folder,
    "": _check_no_scheme,
}
