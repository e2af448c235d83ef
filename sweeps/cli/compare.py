"""`sweeps compare`: several sweeps beside each other, as one HTML page."""

from typing import Annotated

import typer

from sweeps.cli.report import Out, print_file, write_page
from sweeps.cli.sweep_arguments import Runs, find_sweep
from sweeps.errors import InputError
from sweeps.report.content import report_of
from sweeps.storage.sweep import open_sweep, runs_folder

Names = Annotated[list[str], typer.Argument(help="names of two or more sweeps")]


def compare(names: Names, runs: Runs = None, out: Out = None) -> None:
    """Write one HTML page that lays several sweeps beside each other."""
    different = list(dict.fromkeys(names))
    if len(different) < 2:
        known = ", ".join(paths.name for paths in runs_folder(runs).sweeps()) or "none yet"
        raise InputError(f"name two or more different sweeps to compare; there are: {known}")
    sweeps = [open_sweep(find_sweep(name, runs)) for name in different]
    made = report_of(sweeps)
    print_file(write_page(made, out or runs_folder(runs).comparison(different)))
