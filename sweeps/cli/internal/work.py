"""`sweeps work`: one worker of a job."""

import os
import signal
import time
from pathlib import Path
from typing import Annotated

import typer

from sweeps.filesystem.disk_space import is_disk_full
from sweeps.search.study import Study
from sweeps.storage.paths import SweepPaths
from sweeps.storage.sweep import open_sweep
from sweeps.workers.device_access import DeviceAccess
from sweeps.workers.exit_codes import ExitCode
from sweeps.workers.worker import Worker


def work(
    folder: Path,
    job: Annotated[str, typer.Option()],
    threads: Annotated[int, typer.Option(min=1)] = 1,
    until: Annotated[float, typer.Option(help="seconds since 1970")] = float("inf"),
    trials: Annotated[int, typer.Option(min=0)] = 0,
    device_access: Annotated[DeviceAccess, typer.Option()] = DeviceAccess.SHARED,
) -> None:
    """Run trials until nothing is left to do (started by a supervisor)."""
    sweep = open_sweep(SweepPaths(folder))
    # Before any trial is claimed: a trainer that cannot be imported here then costs no attempt.
    try:
        study = Study(sweep.paths, sweep.resolved.experiment, stale_after=sweep.claim_seconds)
    except OSError as error:
        if not is_disk_full(error):
            raise
        os._exit(ExitCode.DISK_FULL)
    deadline = time.monotonic() + until - time.time()
    worker = Worker(sweep, study, job, threads, deadline, trials, device_access)
    for number in (signal.SIGTERM, signal.SIGUSR2):
        signal.signal(number, lambda *_: worker.leaving.set())
    if code := worker.run():
        # Exit at once: what a library does at exit, or an error of Python when it writes to a log
        # on a full disk, would change the exit status.
        os._exit(code)
