"""What a registered version is, in lines for people."""

from pathlib import Path

from sweeps.promotion.entities import Version, describe_origin
from sweeps.text import on_own_line, shown_path


def version_lines(version: Version, folder: Path | None) -> list[str]:
    """Return which trial a version comes from, and where its files are.

    Args:
        version: a version of a registered model.
        folder: its files; None if they are not on this machine.
    """
    origin = describe_origin(version)
    lines = [origin] if origin else []
    if folder is not None:
        lines.append(on_own_line("Its files are in this folder", shown_path(folder)))
    return lines
