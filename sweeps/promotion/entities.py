"""The values of a promotion: registry entries, versions, and the folders of compared champions."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from sweeps.config.names import CONFIRMATION_SUFFIX
from sweeps.storage.paths import SweepPaths
from sweeps.storage.promotion_paths import ScoredPaths

MANIFEST = "package.json"
CHAMPION, PREVIOUS = "champion", "previous"
"""The aliases of the version in use and of the one before it."""
LOCK_STALE_SECONDS = 300.0
"""Without a sign of life for this long, a promotion on another machine counts as dead."""


@dataclass(frozen=True)
class Version:
    """A version of the registered model."""

    number: int
    aliases: frozenset[str]
    tags: Mapping[str, str]
    created: int
    """When it was registered, in milliseconds since 1970."""


@dataclass(frozen=True)
class RegistryEntry:
    """A model to register, with everything that is stored beside it.

    Attributes:
        key: identifies the model; equal for the same model.
        name: the name of the MLflow run that shows the promotion.
        package: the folder of its programs.
        card: the file of its model card, in Markdown.
        attachments: further files for the run and the version.
        evaluation: the folder with its evaluation, for the run.
        metrics: its metrics, by name, for the run.
        dataset: the data on which the metrics were measured.
        tags: tags for the version.
        time: when the metrics were measured, in milliseconds since 1970.
    """

    key: str
    name: str
    package: Path
    card: Path
    attachments: tuple[Path, ...]
    evaluation: Path
    metrics: Mapping[str, float]
    dataset: Mapping[str, Any]
    tags: Mapping[str, str]
    time: int


def describe_origin(version: Version) -> str:
    """Return which trial of which sweep a version comes from, and whose weights it has.

    Empty if the version was not registered by a promotion.
    """
    tags = version.tags
    if not {"sweep.name", "sweep.trial", "sweep.confirmed_by"} <= tags.keys():
        return ""
    sweep, seeds = tags["sweep.name"], ", ".join(tags.get("sweep.seeds", "").split())
    again = f"again with the new seeds {seeds}" if seeds else "again with new seeds"
    weights = f"{sweep}{CONFIRMATION_SUFFIX}:{_trial_number(tags['sweep.confirmed_by'])}"
    seed = f", seed {tags['sweep.seed']}" if "sweep.seed" in tags else ""
    return (
        f"It is trial {_trial_number(tags['sweep.trial'])} of {sweep}, trained {again}. "
        f"The weights are those of {weights}{seed}."
    )


def _trial_number(name: str) -> str:
    """Return the number in the name of a trial, as a person types it."""
    number = name.partition("-")[0]
    return str(int(number)) if number.isdecimal() else name


def read_manifest(package: Path) -> Any:
    """Return the content of a package's manifest."""
    return json.loads((package / MANIFEST).read_text(encoding="utf-8"))


def package_digest(package: Path) -> str:
    """Return a digest of the package: its manifest contains the digests of its programs."""
    return sha256((package / MANIFEST).read_bytes()).hexdigest()


def champion_paths(sweep: SweepPaths, version: Version) -> ScoredPaths:
    """Return the paths of a registered version with which candidates were compared."""
    digest = version.tags.get("sweep.package", "")[:8]
    return ScoredPaths(sweep.promotion / "champions" / f"{version.number}-{digest}")
