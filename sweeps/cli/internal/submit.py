"""`sweeps submit`: a launcher in a session of its own, so that no terminal can end its jobs."""

import json
from pathlib import Path

from sweeps.jobs.launcher import submit_missing_here
from sweeps.storage.paths import SweepPaths
from sweeps.storage.sweep import open_sweep


def submit(folder: Path) -> None:
    """Send missing jobs to this machine: what a launcher starts in a session of its own."""
    print(json.dumps(submit_missing_here(open_sweep(SweepPaths(folder)))))
