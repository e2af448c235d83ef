"""Room on a disk: looked at before it is needed, and its want told from every other error."""

import errno
import shutil
from pathlib import Path

RESERVED_BYTES = 16 * 2**20
"""Bytes left for what is small: rows, the study, the word that the sweep stands still, and why."""
_DISK_FULL_ERRORS = {errno.ENOSPC, errno.EDQUOT}


def check_disk_space(folder: Path, size: int) -> None:
    """Look whether a checkpoint of `size` bytes and the one it replaces have room, with a reserve.

    A quota does not show here: who is over it finds out as he writes.

    Raises:
        OSError: they have not; `is_full` knows it.
    """
    needed, free = 2 * size + RESERVED_BYTES, shutil.disk_usage(folder).free
    if free < needed:
        found = f"{free / 2**20:.0f} MiB free, {needed / 2**20:.0f} MiB needed"
        raise OSError(errno.ENOSPC, found, str(folder))


def is_disk_full(error: Exception) -> bool:
    """Whether an error says that a disk, or somebody's share of it, is full."""
    return isinstance(error, OSError) and error.errno in _DISK_FULL_ERRORS


def disk_full_message(error: OSError, folder: Path) -> str:
    """The error in one line, with the mend; `folder` where it names no file itself."""
    place = Path(error.filename).parent if error.filename else folder
    return f"no room left in {place} ({error.strerror}); see what can go with: sweeps clean"
