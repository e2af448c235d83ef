"""What goes into the registry and what it keeps: plain values, so that this is light."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

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
