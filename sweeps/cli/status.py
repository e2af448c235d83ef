"""`sweeps status`: the current state of a sweep.

It imports little, because it must answer at once on a busy login node.
"""

from collections.abc import Iterator

from sweeps.cli.sweep_arguments import Name, Runs, find_sweep, resume_command
from sweeps.monitor.lines import EXHAUSTED, failure_lines, finding_lines, renamed_lines
from sweeps.monitor.sweep_status import SweepStatus
from sweeps.monitor.table import SweepTable
from sweeps.monitor.watch import current_status, job_lines, jobs_are_left
from sweeps.storage.progress import Exhausted, exhausted_reason
from sweeps.storage.sweep import Sweep, open_sweep
from sweeps.tables import output_console
from sweeps.text import printable


def status(name: Name = None, runs: Runs = None) -> None:
    """Show the current state of a sweep: its trials, its jobs, and what went wrong."""
    sweep = open_sweep(find_sweep(name, runs))
    now = current_status(sweep, job_lines(sweep))
    console = output_console()
    console.print(SweepTable(now))
    for line in finding_lines(now):
        console.print(line, markup=False, highlight=False, soft_wrap=True)
    for line in failure_lines(now.trials):
        console.print(line, markup=False, highlight=False, soft_wrap=True)
    for line in (*renamed_lines(now), *_exhausted_lines(sweep, now)):
        console.print(line, markup=False, highlight=False)
    for line in _resume_lines(sweep, now):
        console.print(printable(line), markup=False, highlight=False, soft_wrap=True)


def _exhausted_lines(sweep: Sweep, now: SweepStatus) -> Iterator[str]:
    """Yield why a sweep is over although it has fewer trials than planned."""
    if now.stopped is None and now.is_over and now.progress.left:
        yield EXHAUSTED[exhausted_reason(sweep.paths) or Exhausted.NOTHING_NEW]


def _resume_lines(sweep: Sweep, now: SweepStatus) -> Iterator[str]:
    """Yield why nothing runs although trials are left, with the command to type next."""
    if now.stopped is not None:
        yield f"stopped: {now.stopped}; resume with: {resume_command(sweep)}"
    elif not now.is_over and not jobs_are_left(sweep):
        yield f"no job is running, but trials are left; resume with: {resume_command(sweep)}"
