"""Copies of decoded slices on a disk of this host, made once and shared by its processes.

Slices are read in random order in each epoch. A file server answers thousands of such reads
slowly, and all its users wait.
"""

import logging
import os
import re
import shutil
import tempfile
from pathlib import Path

from vqvae.data.cache import is_intact, locked

log = logging.getLogger(__name__)

SPARE_BYTES = 2**30
"""The space that a copy must leave free: others use the disk, too."""
MOUNTS = Path("/proc/self/mounts")
_NETWORK = re.compile(
    r"nfs\d?|lustre|gpfs|beegfs|ceph|cifs|smb\d?|panfs|pvfs2|orangefs|afs|wekafs|9p|fuse\..*"
)
"""Types of file systems whose files another host has; `fuse.*` are mostly such ones."""
_MEMORY = re.compile(r"tmpfs|ramfs")
"""A copy there would take the memory that the job may use."""


def staged(entry: Path, scratch: Path) -> Path:
    """A copy of a cache entry in `scratch`, or the entry itself if a copy is of no use.

    It is copied if the entry is on a network file system, `scratch` is on a disk of this host, and
    the disk has room for it and SPARE_BYTES more. Several processes make one copy. If anything
    fails, the reason is logged and the entry is used: a copy makes reading quicker, and no more.

    Args:
        entry: a folder of the cache; see `vqvae.data.cache`.
        scratch: a folder that this user alone can write to.
    """
    copy = scratch / entry.name
    try:
        if not _NETWORK.fullmatch(file_system(entry)):
            return entry
        kind = file_system(scratch)
        if _NETWORK.fullmatch(kind) or _MEMORY.fullmatch(kind):
            log.warning("%s is no disk of this host (%s): no copy of the slices", scratch, kind)
            return entry
        with locked(copy.with_suffix(".lock")):
            if not is_intact(copy):
                _copy(entry, copy)
    except OSError as error:
        log.warning("%s: no copy of the slices (%s)", scratch, error.strerror or error)
        return entry
    return copy


def file_system(path: Path) -> str:
    """The type of the file system of a path, as the kernel names it; empty if it is not known."""
    real, found, longest = os.path.realpath(path), "", -1
    for line in MOUNTS.read_text(encoding="utf-8", errors="surrogateescape").splitlines():
        words = line.split(" ")
        if len(words) < 3:
            continue
        # The kernel writes a space in a name as \040.
        point = re.sub(r"\\([0-7]{3})", lambda octal: chr(int(octal[1], 8)), words[1])
        inside = real == point or real.startswith(point.rstrip("/") + "/")
        if inside and len(point) >= longest:  # of two mounts at one place, the later one is seen
            found, longest = words[2], len(point)
    return found


def _copy(entry: Path, copy: Path) -> None:
    """Copy an entry; a copy that was interrupted never has the final name.

    Raises:
        OSError: there is no room, or the disk fails.
    """
    shutil.rmtree(copy, ignore_errors=True)
    files = [path for path in entry.iterdir() if path.is_file()]
    size = sum(path.stat().st_size for path in files)
    free = shutil.disk_usage(copy.parent).free
    if free < size + SPARE_BYTES:
        raise OSError(f"{free / 2**30:.1f} GiB free, {(size + SPARE_BYTES) / 2**30:.1f} needed")
    draft = Path(tempfile.mkdtemp(prefix=f".{copy.name}-", dir=copy.parent))
    try:
        for path in files:
            shutil.copyfile(path, draft / path.name)
        draft.rename(copy)
    finally:
        shutil.rmtree(draft, ignore_errors=True)
