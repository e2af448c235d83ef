"""Disk space: checks before a checkpoint is written, and recognition of a full disk."""

import errno
import shutil
from pathlib import Path

from sweeps.streams import OutputError

RESERVED_BYTES = 16 * 2**20
"""Bytes kept free for small files: rows of epochs, the study, the reason why the sweep stops."""
_DISK_FULL_ERRORS = {errno.ENOSPC, errno.EDQUOT}


def check_disk_space(folder: Path, size: int) -> None:
    """Check that a checkpoint of `size` bytes and the one it replaces fit, and a reserve.

    A quota cannot be checked here; a write that exceeds it fails.

    Raises:
        OSError: there is too little space; `is_disk_full` is true for this error.
    """
    needed, free = 2 * size + RESERVED_BYTES, shutil.disk_usage(folder).free
    if free < needed:
        reason = f"{free / 2**20:.0f} MiB free, {needed / 2**20:.0f} MiB needed"
        raise OSError(errno.ENOSPC, reason, str(folder))


def is_disk_full(error: Exception) -> bool:
    """Return whether an error means that a disk is full or a quota is exceeded."""
    return isinstance(error, OSError | OutputError) and error.errno in _DISK_FULL_ERRORS


def disk_full_message(error: OSError | OutputError, folder: Path) -> str:
    """Return the error in one line, with what to do; `folder` if the error names no file."""
    file = error.filename if isinstance(error, OSError) else None
    cause = error.strerror if isinstance(error, OSError) else str(error)
    reason = f"no disk space left in {Path(file).parent if file else folder} ({cause})"
    return f"{reason}; to see which files can be removed: sweeps clean"
