"""Finding a registered model by its URI: what `models:/vqvae-hipmri@champion` means here."""

import re
from pathlib import Path

from sweeps.errors import InputError
from sweeps.promotion.registry import Registry
from sweeps.storage.sweep import runs_folder
from sweeps.tracking.store import resolve_store

_URI = re.compile(r"models:/(?P<name>[A-Za-z0-9_-]+)(@(?P<alias>[A-Za-z0-9_-]+)|/(?P<number>\d+))")


def fetch(uri: str) -> Path:
    """The package of a registered model, on this machine.

    The store is `$MLFLOW_TRACKING_URI`, or the database among the runs (`$SWEEPS_RUNS`, or `runs`
    here).

    Args:
        uri: `models:/<name>@<alias>` or `models:/<name>/<version>`.

    Raises:
        InputError: there is no such model, or it is not what was registered.
    """
    asked = _URI.fullmatch(uri)
    if asked is None:
        raise InputError(f"{uri}: write models:/<name>@champion or models:/<name>/<version>")
    store = resolve_store(runs_folder(), None)
    if store.is_database_here and not store.runs.database.exists():
        mend = "run this where the runs are, or set SWEEPS_RUNS or MLFLOW_TRACKING_URI"
        raise InputError(f"{uri}: there is no {store.runs.database}; {mend}")
    registry = Registry(store, asked["name"])
    versions = registry.versions()
    if not versions:
        raise InputError(f"{uri}: no model of that name in {store.uri}; see: sweeps models")
    for version in versions:
        if asked["alias"] in version.aliases or asked["number"] == str(version.number):
            return registry.fetch(version)
    there = ", ".join(sorted({a for v in versions for a in v.aliases})) or "none"
    raise InputError(f"{uri}: {len(versions)} versions, aliases: {there}; see: sweeps models")
