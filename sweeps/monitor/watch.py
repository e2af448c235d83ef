"""Watching a sweep. Nothing depends on it: closing the watcher changes nothing."""

import math
import time
from collections.abc import Iterator, Sequence

from rich.console import Console
from rich.live import Live

from sweeps.errors import EnvironmentFailure
from sweeps.jobs.status import active_jobs, describe_jobs
from sweeps.monitor.lines import totals_line, trial_line
from sweeps.monitor.status import SweepStatus, sweep_status
from sweeps.monitor.table import SweepTable
from sweeps.storage.sweep import Sweep, open_sweep, stop_reason
from sweeps.text import printable

POLL_SECONDS = 1.0
SLURM_POLL_SECONDS = 3.0
"""How often the folders are read, here and over a network."""
JOBS_SECONDS = 30.0
"""How often a scheduler is asked which jobs there are; a local look costs nothing."""


def watch(sweep: Sweep, console: Console) -> None:
    """Show the sweep until it ends or no job of it is left."""
    if console.is_terminal:
        with Live(console=console, auto_refresh=False, vertical_overflow="visible") as live:
            for status in _statuses(sweep):
                live.update(SweepTable(status, max(5, console.height - 8)), refresh=True)
    else:
        _print_changes(sweep, console)


def current_status(sweep: Sweep, jobs: Sequence[str] = ()) -> SweepStatus:
    """The sweep as it stands, by the plan as it stands; `jobs` is what is known of its jobs."""
    return sweep_status(open_sweep(sweep.paths), stop_reason(sweep.paths), jobs)


def job_lines(sweep: Sweep) -> list[str]:
    """Where the sweep's jobs are, in words; nothing for those of this machine."""
    if sweep.plan.cluster.scheduler == "local":
        return []
    try:
        return describe_jobs(sweep.paths)
    except EnvironmentFailure as error:
        return [f"SLURM does not answer, and is asked again ({error})"]


def _statuses(sweep: Sweep) -> Iterator[SweepStatus]:
    """The sweep again and again, until it is over or its jobs are gone."""
    local = sweep.plan.cluster.scheduler == "local"
    pause, between = (POLL_SECONDS, 0.0) if local else (SLURM_POLL_SECONDS, JOBS_SECONDS)
    jobs: list[str] = []
    asked, are_left = -math.inf, True
    while True:
        if time.monotonic() - asked >= between:
            are_left, jobs = _jobs_are_left(sweep), job_lines(sweep)
            asked = time.monotonic()
        status = current_status(sweep, jobs)
        yield status
        if status.is_over and not local:  # a local job still publishes; others wait in the queue
            return
        if not are_left:
            return
        time.sleep(pause)


def _jobs_are_left(sweep: Sweep) -> bool:
    """Whether jobs run or wait, as far as can be told: a scheduler that is silent says nothing."""
    try:
        return bool(active_jobs(sweep.paths))
    except EnvironmentFailure:
        return True


def _print_changes(sweep: Sweep, console: Console) -> None:
    """A line whenever a trial changes its state, and one a minute on how the sweep stands."""
    shown: dict[str, str] = {}
    spoke = time.monotonic()
    said: set[str] = set()
    for status in _statuses(sweep):
        for line in status.jobs:
            if (kind := line.partition(" (")[0]) not in said:  # the time left is no news
                said.add(kind)
                _print_line(console, line)
        for trial in status.trials:
            if shown.get(trial.name) != trial.state:
                shown[trial.name] = trial.state
                _print_line(console, trial_line(trial, status.objective.metric))
                spoke = time.monotonic()
        if time.monotonic() - spoke > 60:
            spoke = time.monotonic()
            _print_line(console, totals_line(status))


def _print_line(console: Console, line: str) -> None:
    console.print(
        printable(f"{time.strftime('%H:%M:%S')} {line}"),
        soft_wrap=True,
        highlight=False,
        markup=False,
    )
