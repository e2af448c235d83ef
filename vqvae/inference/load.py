"""Opening a model from wherever a person says it is."""

import re
from collections.abc import Callable
from importlib.metadata import entry_points
from pathlib import Path
from typing import cast

import torch

from vqvae.config import Config
from vqvae.errors import InputError
from vqvae.export.package import MANIFEST, open_package
from vqvae.model.codec import Codec
from vqvae.training.checkpoint import load_model

GROUP = "vqvae.models"
"""The entry points that bring a model here: each named as a URI's scheme, each a callable that
takes the URI and gives a package's folder on this machine, or raises ValueError with a line for a
person. This package knows no registry; whoever does registers one."""

_URI = re.compile(r"([a-z][a-z0-9+-]+):/")


def open_model(place: str, device: torch.device) -> tuple[Codec, Config | None]:
    """Open the model at `place`, ready to use on `device`.

    Args:
        place: a training's folder, a checkpoint file, a package's folder, or a URI such as
            `models:/name@alias`.
        device: where it is to compute.

    Returns:
        The model; and the configuration that it was trained by, which a package does not have.

    Raises:
        InputError: there is none, or it is damaged.
    """
    scheme = _URI.match(place)
    path = Path(place) if scheme is None else _fetched(place, scheme[1])
    if scheme is not None or (path / MANIFEST).exists():
        return open_package(path, device), None
    model, checkpoint = load_model(path)
    return model.to(device), checkpoint.config


def _fetched(uri: str, scheme: str) -> Path:
    found = list(entry_points(group=GROUP, name=scheme))
    if not found:
        names = sorted(entry.name for entry in entry_points(group=GROUP))
        known = f"known: {', '.join(names)}" if names else "no registry is installed beside vqvae"
        raise InputError(f"{uri}: nothing here fetches models from {scheme}:/ ({known})")
    fetch = cast(Callable[[str], Path], found[0].load())
    try:
        return fetch(uri)
    except ValueError as error:
        raise InputError(str(error)) from error
