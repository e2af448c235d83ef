"""Watching a sweep. Nothing depends on it: closing the watcher changes nothing."""

import time
from collections.abc import Iterator

from rich.console import Console
from rich.live import Live

from sweeps.errors import WorldError
from sweeps.jobs import jobs_alive
from sweeps.status import SweepStatus, status_of
from sweeps.sweep import Sweep, open_sweep, stop_reason
from sweeps.view import table, totals_line, trial_line

POLL_SECONDS = 1.0
SLURM_POLL_SECONDS = 3.0
"""How often the folders are read, here and over a network."""
JOBS_SECONDS = 30.0
"""How often a scheduler is asked which jobs there are; a local look costs nothing."""
GRACE_SECONDS = 60.0
"""How long after submission a scheduler may not list a job yet."""


def watch(sweep: Sweep, console: Console) -> None:
    """Show the sweep until it ends or no job of it is left."""
    if console.is_terminal:
        with Live(console=console, auto_refresh=False, vertical_overflow="visible") as live:
            for status in _looks(sweep):
                live.update(table(status, max(5, console.height - 8)), refresh=True)
    else:
        _print_changes(sweep, console)


def status_now(sweep: Sweep) -> SweepStatus:
    """The sweep as it stands, by the plan as it stands."""
    return status_of(open_sweep(sweep.paths), stop_reason(sweep.paths))


def _looks(sweep: Sweep) -> Iterator[SweepStatus]:
    """The sweep again and again, until it is over or its jobs are gone."""
    local = sweep.plan.cluster.scheduler == "local"
    pause = POLL_SECONDS if local else SLURM_POLL_SECONDS
    began = asked = time.monotonic()
    while True:
        status = status_now(sweep)
        yield status
        if status.is_over and not local:  # a local job still publishes; others wait in the queue
            return
        now = time.monotonic()
        grace = 0.0 if local else GRACE_SECONDS
        if now - began >= grace and (local or now - asked >= JOBS_SECONDS):
            asked = now
            if not _jobs_are_left(sweep):
                yield status_now(sweep)
                return
        time.sleep(pause)


def _jobs_are_left(sweep: Sweep) -> bool:
    """Whether jobs run or wait, as far as can be told: a scheduler that is silent says nothing."""
    try:
        return bool(jobs_alive(sweep.paths))
    except WorldError:
        return True


def _print_changes(sweep: Sweep, console: Console) -> None:
    """A line whenever a trial changes its state, and one a minute on how the sweep stands."""
    shown: dict[str, str] = {}
    spoke = time.monotonic()
    for status in _looks(sweep):
        for trial in status.trials:
            if shown.get(trial.name) != trial.state:
                shown[trial.name] = trial.state
                _say(console, trial_line(trial, status.objective.metric))
                spoke = time.monotonic()
        if time.monotonic() - spoke > 60:
            spoke = time.monotonic()
            _say(console, totals_line(status))


def _say(console: Console, line: str) -> None:
    console.print(
        f"{time.strftime('%H:%M:%S')} {line}", soft_wrap=True, highlight=False, markup=False
    )
