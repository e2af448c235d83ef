"""Opening a model: from a checkpoint, a package, or a model registry."""

import re
from collections.abc import Callable
from importlib.metadata import entry_points
from pathlib import Path
from typing import cast

import torch

from vqvae.config import Config
from vqvae.device import choose_device
from vqvae.errors import InputError
from vqvae.export.package import MANIFEST, open_package
from vqvae.model.codec import Codec
from vqvae.model.vqvae import VQVAE
from vqvae.training.checkpoint import BEST, load_model

GROUP = "vqvae.models"
"""The group of entry points that fetch models from registries. The name of an entry point is the
scheme of a URI. It is a callable that takes the URI and returns the folder of a package on this
host, or raises ValueError with a message of one line. This package has none of its own; another
package that knows a registry provides it."""

CHECKPOINTS = "vqvae.checkpoints"
"""The group of entry points that find checkpoints in folders that this package does not know. Each
is a callable that takes what `--model` was given and returns the path of a checkpoint, or None if
it does not know such names, or raises ValueError with a message of one line."""

_URI = re.compile(r"([a-z][a-z0-9+-]+):/")


def open_model(source: str, device: torch.device) -> tuple[Codec, Config | None]:
    """Open a model for inference on `device`.

    Args:
        source: the folder of a training, a checkpoint file, the folder of a package, a URI such as
            `models:/name@alias`, or whatever an entry point of `CHECKPOINTS` knows.
        device: the device to compute on.

    Returns:
        The model, and the configuration that it was trained with (None for a package).

    Raises:
        InputError: there is no model, or it is damaged.
        UnavailableError: it cannot be read now.
    """
    scheme = _URI.match(source)
    path = _find(source) if scheme is None else _fetch(source, scheme[1])
    if scheme is not None or (path / MANIFEST).exists():
        return open_package(path, device), None
    model, checkpoint = load_model(path)
    return model.to(device), checkpoint.config


def open_trained_model(source: str, device: str) -> VQVAE:
    """Open a trained model without gradients; see `vqvae.load`.

    Raises:
        InputError: there is no model, it is damaged, or it is a package.
    """
    model, _ = open_model(source, choose_device(device))
    if not isinstance(model, VQVAE):
        advice = "open its programs with torch.export.load, or name a trial or a checkpoint"
        raise InputError(f"{source} is a package, without the network of a training; {advice}")
    return model.requires_grad_(False)


def _find(source: str) -> Path:
    """The path that a source names: itself, or what an entry point finds for it."""
    path = Path(source)
    if path.is_file() or (path / BEST).is_file() or (path / MANIFEST).is_file():
        return path
    for entry in entry_points(group=CHECKPOINTS):
        find = cast(Callable[[str], Path | None], entry.load())
        try:
            found = find(source)
        except ValueError as error:
            raise InputError(str(error)) from error
        if found is not None:
            return found
    return path


def _fetch(uri: str, scheme: str) -> Path:
    """The folder of the package that the entry point for `scheme` fetches."""
    found = list(entry_points(group=GROUP, name=scheme))
    if not found:
        names = sorted(f"{entry.name}:/" for entry in entry_points(group=GROUP))
        advice = (
            f"the valid ones are {', '.join(names)}"
            if names
            else "no model registry is installed beside vqvae"
        )
        raise InputError(f"{uri}: {scheme}:/ is not a valid kind of model URI; {advice}")
    fetch = cast(Callable[[str], Path], found[0].load())
    try:
        return fetch(uri)
    except ValueError as error:
        raise InputError(str(error)) from error
