"""Room on a disk: looked at before it is needed, and its want told from every other error."""

import errno
import shutil
from pathlib import Path

RESERVE = 16 * 2**20
"""Bytes left for what is small: rows, the study, the word that the sweep stands still, and why."""
_FULL = {errno.ENOSPC, errno.EDQUOT}


def check_room(folder: Path, size: int) -> None:
    """Look whether a checkpoint of `size` bytes and the one it replaces have room, with a reserve.

    A quota does not show here: who is over it finds out as he writes.

    Raises:
        OSError: they have not; `is_full` knows it.
    """
    needed, free = 2 * size + RESERVE, shutil.disk_usage(folder).free
    if free < needed:
        found = f"{free / 2**20:.0f} MiB free, {needed / 2**20:.0f} MiB needed"
        raise OSError(errno.ENOSPC, found, str(folder))


def is_full(error: Exception) -> bool:
    """Whether an error says that a disk, or somebody's share of it, is full."""
    return isinstance(error, OSError) and error.errno in _FULL


def want_of_room(error: OSError, folder: Path) -> str:
    """The error in one line, with the mend; `folder` where it names no file itself."""
    place = Path(error.filename).parent if error.filename else folder
    return f"no room left in {place} ({error.strerror}); see what can go with: sweeps clean"
