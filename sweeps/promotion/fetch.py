"""Find a registered model by its URI, such as `models:/vqvae-hipmri@champion`."""

import re
from pathlib import Path

from sweeps.errors import EnvironmentFailure, InputError
from sweeps.promotion.registry import Registry
from sweeps.storage.sweep import runs_folder
from sweeps.tracking.access import readable_store
from sweeps.tracking.publisher import errors_in_one_line
from sweeps.tracking.store import Store, resolve_store

_URI = re.compile(r"models:/(?P<name>[A-Za-z0-9_-]+)(@(?P<alias>[A-Za-z0-9_-]+)|/(?P<number>\d+))")


def fetch(uri: str) -> Path:
    """Return the folder of a registered model's package, on this machine.

    The store is `$MLFLOW_TRACKING_URI`, or the database in the runs folder (`$SWEEPS_RUNS`, or
    `runs` here).

    Args:
        uri: `models:/<name>@<alias>` or `models:/<name>/<version>`.

    Raises:
        InputError: the URI is not valid, there is no such model, or its package is not the one
            that was registered.
    """
    match = _URI.fullmatch(uri)
    if match is None:
        advice = "write models:/<name>@champion or models:/<name>/<version>"
        raise InputError(f"{uri} is not a valid model URI; {advice}")
    store = resolve_store(runs_folder(), None)
    if store.is_database_here and not store.runs.database.exists():
        advice = "run this where the runs are, or set SWEEPS_RUNS or MLFLOW_TRACKING_URI"
        raise InputError(f"{uri}: {store.runs.database} does not exist; {advice}")
    try:
        with readable_store(store) as readable, errors_in_one_line(store):
            return _fetch(Registry(readable, match["name"], only_read=True), match, store)
    except EnvironmentFailure as error:  # the caller knows errors of the input only
        raise InputError(f"{uri}: {error}") from error


def _fetch(registry: Registry, match: re.Match[str], store: Store) -> Path:
    uri, versions = match[0], registry.versions()
    if not versions:
        raise InputError(f"{uri}: {store.name} has no model of this name; see: sweeps models")
    for version in versions:
        if match["alias"] in version.aliases or match["number"] == str(version.number):
            return registry.fetch(version)
    aliases = ", ".join(sorted({a for v in versions for a in v.aliases})) or "none"
    found = f"the model has {len(versions)} versions and the aliases: {aliases}"
    raise InputError(f"{uri} is not a registered version; {found}; see: sweeps models")
