"""`sweeps models` and `sweeps rollback`: the versions of a registered model."""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Group, RenderableType
from rich.text import Text

from sweeps.cli.sweep_arguments import Runs, find_sweep
from sweeps.config.names import NAME_RULE, SAFE_NAME
from sweeps.errors import InputError
from sweeps.filesystem.lock import Lock
from sweeps.promotion.entities import LOCK_STALE_SECONDS, Version
from sweeps.storage.sweep import open_sweep, runs_folder
from sweeps.tables import Column, FittingTable, output_console
from sweeps.text import printable
from sweeps.tracking.store import Store, acquire_lease, lease_holder, resolve_store

Model = Annotated[
    str | None, typer.Argument(help="name of the registered model (default: the latest sweep's)")
]


def rollback(model: Model = None, runs: Runs = None) -> None:
    """Make the previous champion the champion again."""
    name, store = find_model(model, runs)
    if not acquire_lease(store):
        where = f"{store.runs.database} may only be written from the host {lease_holder(store)}"
        raise InputError(f"{where}; roll back there, or first run: sweeps sync --take-over")
    from sweeps.promotion.registry import Registry

    with Lock(store.runs.registry_lock(name), stale_after=LOCK_STALE_SECONDS).hold():
        old, new = Registry(store, name).roll_back()
    print(f"{name}: the champion was version {old} and is now version {new}")
    print("to undo this, run the same command again")


def models(model: Model = None, runs: Runs = None) -> None:
    """Show the versions of a registered model: scores, aliases, and why each was registered."""
    name, store = find_model(model, runs)
    from sweeps.promotion.registry import Registry

    versions = Registry(store, name).versions()
    if not versions:
        raise InputError(f"{store.uri} has no model {name!r}; promote a model with: make promote")
    output_console().print(versions_table(name, versions))


def find_model(model: str | None, runs: Path | None) -> tuple[str, Store]:
    """Return the name of the registered model that is meant, and the store that has it.

    Raises:
        InputError: the name is not a valid one, or no model has been promoted here.
    """
    if model is not None and not SAFE_NAME.fullmatch(model):
        raise InputError(f"{model!r} is not a valid model name; a name is {NAME_RULE}")
    folder = runs_folder(runs)
    searches = folder.sweeps()
    tracking = None
    if searches or model is None:
        sweep = open_sweep(find_sweep(None, runs, searches=True))
        model, tracking = model or sweep.experiment.model_name, sweep.plan.cluster.tracking
    store = resolve_store(folder, tracking)
    if store.is_database_here and not store.runs.database.exists():
        raise InputError(
            f"{store.runs.database} does not exist; promote a model with: make promote"
        )
    return model, store


def versions_table(name: str, versions: Sequence[Version]) -> RenderableType:
    """Return a table of a model's versions, the latest first, and why each was registered."""
    metric = next((v.tags["sweep.metric"] for v in versions if "sweep.metric" in v.tags), "test")
    headings = ("no.", "alias", metric, "new seeds", "trial", "registered")
    rows = [_cells(version) for version in reversed(versions)]
    columns = [Column(h, cells) for h, cells in zip(headings, zip(*rows, strict=True), strict=True)]
    reasons = [f"{version.number}: {_why(version)}" for version in reversed(versions)]
    return Group(FittingTable(f"model {name}", [columns]), Text(printable("\n".join(reasons))))


def _cells(version: Version) -> tuple[str, ...]:
    tags = version.tags
    spread = f" ± {_short(tags['sweep.spread'])}" if "sweep.spread" in tags else ""
    return (
        str(version.number),
        ", ".join(sorted(version.aliases)),
        _short(tags.get("sweep.test", "")),
        _short(tags.get("sweep.mean", "")) + spread,
        "\n".join(tags[key] for key in ("sweep.name", "sweep.trial") if key in tags),
        time.strftime("%Y-%m-%d\n%H:%M UTC", time.gmtime(version.created / 1000)),
    )


def _why(version: Version) -> str:
    tags = version.tags
    rolled_back = (
        f"; rolled back {tags['sweep.rolled_back']}" if "sweep.rolled_back" in tags else ""
    )
    return tags.get("sweep.decision", "not registered by a promotion") + rolled_back


def _short(value: str) -> str:
    """Return the number in a tag with four decimals."""
    try:
        return f"{float(value):.4f}" if value else ""
    except ValueError:  # tags can be edited by hand
        return value
