"""Files that are only names."""

from pathlib import Path

from vqvae.data.importing.sources import File


def files(*names: str) -> tuple[File, ...]:
    """Files below a source, which need not exist."""
    return tuple(File(Path(name), name) for name in names)
