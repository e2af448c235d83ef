"""`sweeps submit`: start jobs in a session of its own, so that closing a terminal ends none."""

import json
from pathlib import Path

from sweeps.jobs.launcher import submit_missing_here
from sweeps.storage.paths import SweepPaths
from sweeps.storage.sweep import open_sweep


def submit(folder: Path) -> None:
    """Start the missing jobs on this machine (started by a launcher, in a session of its own)."""
    print(json.dumps(submit_missing_here(open_sweep(SweepPaths(folder)))))
