"""`sweeps status`: a sweep as it stands. Light: it must answer at once on a busy login node."""

from rich.console import Console

from sweeps.cli.sweep_arguments import Name, Runs, find_sweep, resume_command
from sweeps.monitor.lines import failure_lines
from sweeps.monitor.table import SweepTable
from sweeps.monitor.watch import current_status, job_lines
from sweeps.storage.sweep import open_sweep
from sweeps.text import printable


def status(name: Name = None, runs: Runs = None) -> None:
    """Show a sweep as it stands."""
    sweep = open_sweep(find_sweep(name, runs))
    now = current_status(sweep, job_lines(sweep))
    console = Console()
    console.print(SweepTable(now))
    for line in failure_lines(now.trials):
        console.print(line, markup=False, highlight=False, soft_wrap=True)
    if now.stopped is not None:
        stopped = f"stopped: {now.stopped}; go on with: {resume_command(sweep)}"
        console.print(printable(stopped), markup=False)
