"""`sweeps status`: the current state of a sweep.

It imports little, because it must answer at once on a busy login node.
"""

from sweeps.cli.sweep_arguments import Name, Runs, find_sweep, resume_command
from sweeps.monitor.lines import failure_lines
from sweeps.monitor.table import SweepTable
from sweeps.monitor.watch import current_status, job_lines
from sweeps.storage.sweep import open_sweep
from sweeps.tables import output_console
from sweeps.text import printable


def status(name: Name = None, runs: Runs = None) -> None:
    """Show the current state of a sweep: its trials, its jobs, and what went wrong."""
    sweep = open_sweep(find_sweep(name, runs))
    now = current_status(sweep, job_lines(sweep))
    console = output_console()
    console.print(SweepTable(now))
    for line in failure_lines(now.trials):
        console.print(line, markup=False, highlight=False, soft_wrap=True)
    if now.stopped is not None:
        message = f"stopped: {now.stopped}; resume with: {resume_command(sweep)}"
        console.print(printable(message), markup=False, highlight=False, soft_wrap=True)
