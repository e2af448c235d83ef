"""`sweeps status`: the current state of a sweep.

It imports little, because it must answer at once on a busy login node.
"""

from collections.abc import Iterator
from typing import Annotated

import typer

from sweeps.cli.json_output import JsonOption, print_json
from sweeps.cli.sweep_arguments import Name, Runs, find_sweep, resume_command, sweep_command
from sweeps.monitor.confirmation import confirmation_line
from sweeps.monitor.json_content import status_content
from sweeps.monitor.last_error import last_error_lines
from sweeps.monitor.lines import exhausted_lines, failure_lines, finding_lines, renamed_lines
from sweeps.monitor.selection import select_best
from sweeps.monitor.sorting import sort_trials
from sweeps.monitor.sweep_status import SweepStatus
from sweeps.monitor.table import SweepTable
from sweeps.monitor.watch import current_status, job_lines, jobs_are_left
from sweeps.storage.progress import exhausted_reason
from sweeps.storage.sweep import Sweep, open_sweep
from sweeps.tables import output_console
from sweeps.text import on_own_line, printable

SortColumn = Annotated[
    str | None,
    typer.Option(
        "--sort",
        metavar="COLUMN",
        help="order of the trials: best, state, epoch, seconds, or a "
        "hyperparameter such as learning_rate",
    ),
]


AllTrials = Annotated[
    bool,
    typer.Option("--all", help="show every trial, of many too; so does --sort"),
]
_LINES_BELOW = 16
"""Lines of a screen for what is not a row: heading, state, findings, the next prompt."""
_FEWEST_ROWS = 20
"""As many trials are always shown; a log has no height."""


def status(
    name: Name = None,
    runs: Runs = None,
    sort: SortColumn = None,
    every: AllTrials = False,
    as_json: JsonOption = False,
) -> None:
    """Show the current state of a sweep: its trials, its jobs, and what went wrong."""
    sweep = open_sweep(find_sweep(name, runs))
    now = sort_trials(current_status(sweep, job_lines(sweep)), "trial" if sort is None else sort)
    if as_json:
        print_json(status_content(now))
        return
    console = output_console()
    rows = None if sort is not None or every else max(_FEWEST_ROWS, console.height - _LINES_BELOW)
    selection = select_best(now.trials, now.objective, rows)
    console.print(SweepTable(now, selection=selection))
    if selection.hidden:
        print(on_own_line("see every trial with", f"{sweep_command('status', sweep)} --all"))
    for line in finding_lines(now):
        console.print(line, markup=False, highlight=False, soft_wrap=True)
    for line in failure_lines(now.trials):
        console.print(line, markup=False, highlight=False, soft_wrap=True)
    lines = renamed_lines(now)
    lines += confirmation_line(sweep, sweep_command("status", sweep, confirmation=True))
    if now.is_over and now.stopped is None:
        lines += exhausted_lines(now.progress, exhausted_reason(sweep.paths))
    for line in lines:
        console.print(line, markup=False, highlight=False, soft_wrap=True)
    for line in _resume_lines(sweep, now):
        console.print(printable(line), markup=False, highlight=False, soft_wrap=True)


def _resume_lines(sweep: Sweep, now: SweepStatus) -> Iterator[str]:
    """Yield why nothing runs although trials are left, with the command to type next."""
    if now.stopped is not None:
        yield on_own_line(f"stopped: {now.stopped}; resume with", resume_command(sweep))
    elif not now.is_over and not jobs_are_left(sweep):
        yield from last_error_lines(sweep.paths)
        what = "no job is running, but trials are left; resume with"
        yield on_own_line(what, resume_command(sweep))
