"""A folder of the job's own on its node, where a trainer may keep copies of its data."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sweeps.config.cluster import Cluster
from sweeps.jobs.slots import print_line

VARIABLE = "SWEEP_SCRATCH"
"""The environment variable that names the folder to workers (`sweeps.trainer.Trainer.fit`)."""


@contextmanager
def scratch_folder(cluster: Cluster, token: str) -> Iterator[Path | None]:
    """Make the folder inside of the one that the cluster file names, and remove it at the end.

    A site removes a `$TMPDIR` of one job itself. Where it is `/tmp` of all users, nobody else
    would remove it. A job that is killed leaves it there; the job's next run on that node uses it.

    Yields:
        The folder; None outside of SLURM, or if it cannot be made.
    """
    folder = _make(cluster, token)
    try:
        yield folder
    finally:
        if folder is not None:
            shutil.rmtree(folder, ignore_errors=True)


def _make(cluster: Cluster, token: str) -> Path | None:
    parent = os.path.expandvars(cluster.scratch)
    if cluster.scheduler != "slurm" or not Path(parent).is_absolute():  # empty, or not set here
        return None
    folder = Path(parent) / f"sweep-{os.getuid()}-{token}"
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        state = folder.lstat()
    except OSError as error:
        print_line(f"no local copies of data: {folder} cannot be made ({error.strerror})")
        return None
    if folder.is_symlink() or state.st_uid != os.getuid():  # anybody can write to /tmp
        print_line(f"no local copies of data: {folder} belongs to another user")
        return None
    return folder
