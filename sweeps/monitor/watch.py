"""Showing the progress of a sweep. The sweep does not depend on it: it can be closed any time."""

import math
import time
from collections.abc import Iterator, Sequence

from rich.console import Console
from rich.live import Live

from sweeps.errors import EnvironmentFailure
from sweeps.jobs.job_status import active_jobs, describe_jobs
from sweeps.monitor.lines import phase_lines, totals_line, trial_line
from sweeps.monitor.sweep_status import SweepStatus, sweep_status
from sweeps.monitor.table import SweepTable
from sweeps.monitor.time_left import time_left_text
from sweeps.storage.sweep import Sweep, open_sweep, stop_reason
from sweeps.text import printable

POLL_SECONDS = 1.0
SLURM_POLL_SECONDS = 3.0
"""Seconds between two reads of the folders, on this machine and over a network."""
READING_SHARE = 5
"""The pause is at least this many times as long as the reading: of many trials it takes seconds."""
CLOSE_HINT = "Ctrl-C closes this view; the sweep goes on"
JOBS_SECONDS = 30.0
"""Seconds between two questions to the scheduler; for local jobs there is no such limit."""


def watch(sweep: Sweep, console: Console) -> None:
    """Show the progress of the sweep until it ends or none of its jobs is left.

    The last view has no totals: the summary that follows begins with them.
    """
    if console.is_terminal and not console.is_dumb_terminal:
        with Live(console=console, auto_refresh=False, vertical_overflow="visible") as live:
            for status in _statuses(sweep):
                rows = console.height - 1
                live.update(SweepTable(status, rows, hint=CLOSE_HINT), refresh=True)
            live.update(SweepTable(status, rows, totals=False), refresh=True)
    else:
        _print_changes(sweep, console)


def current_status(sweep: Sweep, jobs: Sequence[str] = ()) -> SweepStatus:
    """Return the current state of the sweep, by its current plan; `jobs` describes its jobs."""
    return sweep_status(open_sweep(sweep.paths), stop_reason(sweep.paths), jobs)


def job_lines(sweep: Sweep) -> list[str]:
    """Return lines that describe the sweep's jobs in SLURM; none for local jobs."""
    if sweep.plan.cluster.scheduler == "local":
        return []
    try:
        return describe_jobs(sweep.paths)
    except EnvironmentFailure as error:
        return [f"SLURM does not answer; it will be asked again ({error})"]


def _statuses(sweep: Sweep) -> Iterator[SweepStatus]:
    """Yield the state of the sweep repeatedly, until it is over or its jobs have ended."""
    local = sweep.plan.cluster.scheduler == "local"
    pause, jobs_pause = (POLL_SECONDS, 0.0) if local else (SLURM_POLL_SECONDS, JOBS_SECONDS)
    jobs: list[str] = []
    asked_at, are_left = -math.inf, True
    while True:
        began = time.monotonic()
        if time.monotonic() - asked_at >= jobs_pause:
            are_left, jobs = jobs_are_left(sweep), job_lines(sweep)
            asked_at = time.monotonic()
        status = current_status(sweep, jobs)
        yield status
        if (
            status.is_over and not local
        ):  # a local job still publishes; SLURM jobs may still be pending
            return
        if not are_left:
            return
        time.sleep(max(pause, READING_SHARE * (time.monotonic() - began)))


def jobs_are_left(sweep: Sweep) -> bool:
    """Return whether jobs run or are pending; True if the scheduler does not answer."""
    try:
        return bool(active_jobs(sweep.paths))
    except EnvironmentFailure:
        return True


def _print_changes(sweep: Sweep, console: Console) -> None:
    """Print a line for each event: a phase, a new state of a trial; totals after a quiet minute."""
    shown: dict[str, str] = {}
    printed_at = time.monotonic()
    printed: set[str] = set()
    for status in _statuses(sweep):
        if CLOSE_HINT not in printed and not status.is_over:
            printed.add(CLOSE_HINT)
            _print_line(console, CLOSE_HINT)
        for line in status.jobs:
            if (news := line.partition(" (")[0]) not in printed:  # without the time left
                printed.add(news)
                _print_line(console, line)
        for line in (*_confirmed(status), *_first_phases(status)):
            if line not in printed:
                printed.add(line)
                _print_line(console, line)
                printed_at = time.monotonic()
        for trial in status.trials:
            if shown.get(trial.name) != trial.state:
                shown[trial.name] = trial.state
                _print_line(console, trial_line(trial, status.objective.metric))
                printed_at = time.monotonic()
        if time.monotonic() - printed_at > 60:
            printed_at = time.monotonic()
            _print_line(console, "; ".join([totals_line(status), *_time_left(status)]))


def _confirmed(status: SweepStatus) -> list[str]:
    return [] if status.confirmation is None else status.confirmation.lines()


def _first_phases(status: SweepStatus) -> list[str]:
    """Return what is waited for until the sweep has its first epoch; later the trials say it."""
    if any(trial.epoch for trial in status.trials):
        return [status.phase] if status.phase else []
    return phase_lines(status)


def _time_left(status: SweepStatus) -> list[str]:
    return [] if status.time_left is None else [time_left_text(status.time_left)]


def _print_line(console: Console, line: str) -> None:
    console.print(
        printable(f"{time.strftime('%H:%M:%S')} {line}"),
        soft_wrap=True,
        highlight=False,
        markup=False,
    )
