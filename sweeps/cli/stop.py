"""`sweeps stop`: stop a sweep so that it can be resumed."""

import time

from sweeps.cli.sweep_arguments import Name, Runs, find_sweep, resume_command
from sweeps.errors import EnvironmentFailure
from sweeps.jobs.job_status import active_jobs
from sweeps.jobs.launcher import cancel_pending_jobs
from sweeps.jobs.notify import notify
from sweeps.monitor.lines import progress_text
from sweeps.storage.sweep import (
    STOPPED_BY_HAND,
    Sweep,
    open_sweep,
    stop_reason,
    stop_sweep,
    unfinished_confirmation,
)
from sweeps.text import count, on_own_line, printable


def stop(name: Name = None, runs: Runs = None) -> None:
    """Stop a sweep: each worker finishes its epoch, releases its trial and exits.

    The confirmation of the sweep is stopped, too, if a promotion has begun one that is not over.
    """
    paths = find_sweep(name, runs)
    sweep, confirmation = open_sweep(paths), unfinished_confirmation(paths)
    if not sweep.is_over() or confirmation is None:
        _stop(sweep)
    if confirmation is not None:
        print(f"stopping the confirmation of {sweep.paths.name}: {confirmation.name}")
        _stop(open_sweep(confirmation))


def _stop(sweep: Sweep) -> None:
    if sweep.is_over():
        print(_over_line(sweep))
        return
    if (reason := stop_reason(sweep.paths)) is None:
        stop_sweep(sweep.paths, STOPPED_BY_HAND)
    else:
        print(printable(f"sweep {sweep.paths.name} was stopped already: {reason}"))
    _wait_for_workers(sweep)
    notify(sweep)  # where no supervisor is left to do it
    if sweep.is_over():  # its last trials ended in the meantime
        print(_over_line(sweep))
    else:
        print(on_own_line("no finished epoch is lost; resume with", resume_command(sweep)))


def _over_line(sweep: Sweep) -> str:
    return f"sweep {sweep.paths.name} is over: {progress_text(sweep.progress())}; nothing to stop"


def _cancel_pending(sweep: Sweep) -> None:
    """Cancel the jobs that are pending: they would count against the user's limits."""
    try:
        cancelled = cancel_pending_jobs(sweep)
    except EnvironmentFailure as error:
        print(printable(f"pending jobs were not cancelled; they will find no work: {error}"))
        return
    if cancelled:
        print(f"cancelled {count(len(cancelled), 'pending job')}: {', '.join(cancelled)}")


def _wait_for_workers(sweep: Sweep) -> None:
    """Wait until the workers on this machine have ended; of jobs in SLURM, say what happens."""
    try:
        jobs = active_jobs(sweep.paths)
    except EnvironmentFailure as error:
        print(printable(f"the stop is recorded; which jobs are left is not known: {error}"))
        return
    if not jobs:
        print("no job of the sweep is running")
        return
    if sweep.plan.cluster.scheduler != "local":
        print("each worker exits after its current epoch")
        _cancel_pending(sweep)
        return
    print("each worker exits after its current epoch", end="", flush=True)
    while active_jobs(sweep.paths):
        print(".", end="", flush=True)
        time.sleep(0.5)
    print()
