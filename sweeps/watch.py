"""Watching a sweep. Nothing depends on it: closing the watcher changes nothing."""

import time
from collections.abc import Iterator

from rich.console import Console
from rich.live import Live

from sweeps.jobs import jobs_alive
from sweeps.status import SweepStatus, status_of
from sweeps.sweep import Sweep, stop_reason
from sweeps.view import table, totals_line, trial_line

POLL_SECONDS = 1.0
JOBS_SECONDS = 30.0
"""How often a scheduler is asked which jobs there are; a local look costs nothing."""


def watch(sweep: Sweep, console: Console) -> bool:
    """Show the sweep until it ends or stands still; return whether every trial ended."""
    if console.is_terminal:
        with Live(console=console, auto_refresh=False, vertical_overflow="visible") as live:
            for status in _looks(sweep):
                live.update(table(status, max(5, console.height - 8)), refresh=True)
    else:
        _print_changes(sweep, console)
    return status_now(sweep).is_over


def status_now(sweep: Sweep) -> SweepStatus:
    """The sweep as it stands."""
    return status_of(sweep, stop_reason(sweep.paths))


def _looks(sweep: Sweep) -> Iterator[SweepStatus]:
    """The sweep again and again, until its jobs are gone."""
    local = sweep.plan.cluster.scheduler == "local"
    asked = float("-inf")
    while True:
        status = status_now(sweep)
        yield status
        if time.monotonic() - asked >= (POLL_SECONDS if local else JOBS_SECONDS):
            asked = time.monotonic()
            if not jobs_alive(sweep.paths, sweep.plan.cluster):
                yield status_now(sweep)
                return
        time.sleep(POLL_SECONDS)


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
