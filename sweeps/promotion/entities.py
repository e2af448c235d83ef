"""What promotion is about, as plain values: models with scores, registry entries, versions.

runs/<sweep>/promotion/
  candidates/<trial>/        a proposed model: one trial of the confirmation
    package/                 its programs
    evaluation/  scores.json what it is worth on the test split
    decision.json  card.md   whether it may replace the champion; its card
  champions/<version>/       a registered model that candidates were compared with
    evaluation/  scores.json
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from sweeps.storage.paths import PathIn, SweepPaths

MANIFEST = "package.json"
LOCK_STALE_SECONDS = 300.0
"""Silence after which a promotion on another machine is believed dead."""


@dataclass(frozen=True)
class Version:
    """A version of the registered model."""

    number: int
    aliases: frozenset[str]
    tags: Mapping[str, str]
    created: int
    """In milliseconds since 1970."""


@dataclass(frozen=True)
class RegistryEntry:
    """What is registered, and all that goes with it.

    Attributes:
        key: tells this model from any other; the same model has the same one.
        name: of the run that shows the promotion.
        package: the folder of its programs.
        card: its card, in Markdown.
        attachments: further files for the run and the version.
        evaluation: a folder for the run.
        figures: for the run, by name.
        dataset: what the figures were measured on.
        tags: for the version.
        time: when the figures were measured, in milliseconds since 1970.
    """

    key: str
    name: str
    package: Path
    card: Path
    attachments: tuple[Path, ...]
    evaluation: Path
    figures: Mapping[str, float]
    dataset: Mapping[str, Any]
    tags: Mapping[str, str]
    time: int


def read_manifest(package: Path) -> Any:
    """What a package says of itself."""
    return json.loads((package / MANIFEST).read_text())


def package_digest(package: Path) -> str:
    """What stands for a package: its manifest has the digests of its programs."""
    return sha256((package / MANIFEST).read_bytes()).hexdigest()


@dataclass(frozen=True)
class ScoredPaths:
    """The folder of one model and what it was found to be worth."""

    folder: Path

    package = PathIn("package")  # the model's programs
    evaluation = PathIn("evaluation")  # figures and tables of its evaluation
    scores = PathIn("scores.json")  # its metrics on the test split
    decision = PathIn("decision.json")  # whether it may replace the champion, and why
    card = PathIn("card.md")  # the model card


def candidate_paths(sweep: SweepPaths, trial: str) -> ScoredPaths:
    """The folder of a candidate, by the name of its trial in the confirmation."""
    return ScoredPaths(sweep.promotion / "candidates" / trial)


def champion_paths(sweep: SweepPaths, version: Version) -> ScoredPaths:
    """The folder of a registered version that this sweep's candidates were held against."""
    digest = version.tags.get("sweep.package", "")[:8]
    return ScoredPaths(sweep.promotion / "champions" / f"{version.number}-{digest}")
