"""`sweeps models` and `sweeps rollback`: registered models and their versions."""

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import RenderableType

from sweeps.cli.json_output import JsonOption, print_json
from sweeps.cli.sweep_arguments import Runs, find_sweep
from sweeps.cli.version_text import version_lines
from sweeps.config.names import NAME_RULE, SAFE_NAME
from sweeps.errors import InputError
from sweeps.filesystem.lock import Lock
from sweeps.promotion.entities import CHAMPION, LOCK_STALE_SECONDS, Version
from sweeps.storage.sweep import open_sweep, runs_folder
from sweeps.tables import Column, FittingTable, output_console
from sweeps.text import did_you_mean, on_own_line, printable
from sweeps.tracking.access import readable_store, why_not_writable
from sweeps.tracking.store import Store, resolve_store

_HOW_TO_PROMOTE = "promote a model with: make promote"

Model = Annotated[
    str | None, typer.Argument(help="name of the registered model (default: the latest sweep's)")
]
AnyModel = Annotated[
    str | None, typer.Argument(help="name of the registered model (default: all of them)")
]


def rollback(model: Model = None, runs: Runs = None) -> None:
    """Make the previous champion the champion again."""
    name, store = _model_name(model, runs), find_store(runs)
    if (refusal := why_not_writable(store)) is not None:
        raise InputError(f"the champion cannot be changed: {refusal}")
    from sweeps.promotion.registry import Registry
    from sweeps.tracking.publisher import errors_in_one_line

    lock = Lock(store.runs.registry_lock(name), stale_after=LOCK_STALE_SECONDS)
    with errors_in_one_line(store), lock.hold():
        old, new = Registry(store, name).roll_back()
    print(f"{name}: the champion was version {old}; now it is version {new}")
    print("to undo this, run the same command again")


def models(model: AnyModel = None, runs: Runs = None, as_json: JsonOption = False) -> None:
    """Show the registered models, or one model's versions and why each was registered."""
    if model is not None:
        _check_name(model)
    store = find_store(runs)
    from sweeps.promotion.registry import Registry, model_names
    from sweeps.tracking.publisher import errors_in_one_line

    with readable_store(store) as readable, errors_in_one_line(store):
        names = model_names(readable)
        if model is not None and model not in names:
            valid = did_you_mean(model, names) or f"; {_HOW_TO_PROMOTE}"
            raise InputError(f"{store.name} has no model {model!r}{valid}")
        shown = names if model is None else [model]
        registries = {n: Registry(readable, n, only_read=True) for n in shown}
        versions = {n: registry.versions() for n, registry in registries.items()}
        folders = {n: list(map(registries[n].folder, of_name)) for n, of_name in versions.items()}
    found = {name: of_name for name, of_name in versions.items() if of_name}
    if not found:
        raise InputError(f"{store.name} has no registered model; {_HOW_TO_PROMOTE}")
    if as_json:
        print_json(_content(store, found))
    elif len(found) > 1:
        output_console().print(models_table(found))
        print(on_own_line("versions of one model, and the reasons", "sweeps models NAME"))
    else:
        for name, of_name in found.items():
            output_console().print(versions_table(name, of_name))
            for version, folder in reversed(list(zip(of_name, folders[name], strict=True))):
                for line in version_text(name, version, folder):
                    print(printable(line))


def _content(store: Store, found: Mapping[str, Sequence[Version]]) -> dict[str, Any]:
    """Return registered models as a JSON object."""
    models = [
        {
            "name": name,
            "versions": [
                {
                    "number": version.number,
                    "aliases": sorted(version.aliases),
                    "created": version.created,
                    "tags": version.tags,
                }
                for version in versions
            ],
        }
        for name, versions in found.items()
    ]
    return {"store": store.name, "models": models}


def find_store(runs: Path | None) -> Store:
    """Return the store of the latest search in the folder of runs.

    Raises:
        InputError: there is no database there.
    """
    folder = runs_folder(runs)
    tracking = None
    if folder.sweeps():
        tracking = open_sweep(find_sweep(None, runs)).plan.cluster.tracking
    store = resolve_store(folder, tracking)
    if store.is_database_here and not store.runs.database.exists():
        raise InputError(f"{store.runs.database} does not exist; {_HOW_TO_PROMOTE}")
    return store


def _model_name(model: str | None, runs: Path | None) -> str:
    if model is not None:
        return _check_name(model)
    return open_sweep(find_sweep(None, runs)).experiment.model_name


def _check_name(model: str) -> str:
    if not SAFE_NAME.fullmatch(model):
        raise InputError(f"{model!r} is not a valid model name; a name is {NAME_RULE}")
    return model


def models_table(models: Mapping[str, Sequence[Version]]) -> RenderableType:
    """Return a table of registered models: how many versions each has, and its champion."""
    rows = []
    for name, versions in models.items():
        champion = next((v for v in versions if CHAMPION in v.aliases), None)
        cells = ("none", "", "") if champion is None else _champion_cells(champion)
        rows.append((name, str(len(versions)), *cells))
    headings = ("model", "versions", "champion", "score", "registered")
    columns = [Column(h, cells) for h, cells in zip(headings, zip(*rows, strict=True), strict=True)]
    return FittingTable("registered models", [columns])


def _champion_cells(champion: Version) -> tuple[str, ...]:
    number, _, score, _, _, registered = _cells(champion)
    metric = champion.tags.get("sweep.metric", "")
    return (number, f"{metric} {score}".strip(), registered)


def versions_table(name: str, versions: Sequence[Version]) -> RenderableType:
    """Return a table of a model's versions, the latest first."""
    metric = next((v.tags["sweep.metric"] for v in versions if "sweep.metric" in v.tags), "test")
    headings = ("no.", "alias", metric, "new seeds", "trial", "registered")
    rows = [_cells(version) for version in reversed(versions)]
    columns = [Column(h, cells) for h, cells in zip(headings, zip(*rows, strict=True), strict=True)]
    return FittingTable(f"model {name}", [columns])


def version_text(name: str, version: Version, folder: Path | None) -> list[str]:
    """Return why a version was registered, what it is, where its files are, and its URI.

    Args:
        name: the name of the registered model.
        version: one of its versions.
        folder: its files; None if they are not on this machine.
    """
    why = f"version {version.number} {_why(version)}."
    uri = on_own_line("To use it, give a command this --model", f"models:/{name}/{version.number}")
    return ["", why, *version_lines(version, folder), uri]


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
    back = tags.get("sweep.rolled_back")
    rolled_back = f"; it was rolled back on {back} UTC" if back else ""
    return tags.get("sweep.decision", "was not registered by a promotion") + rolled_back


def _short(value: str) -> str:
    """Return the number in a tag with four decimals."""
    try:
        return f"{float(value):.4f}" if value else ""
    except ValueError:  # tags can be edited by hand
        return value
