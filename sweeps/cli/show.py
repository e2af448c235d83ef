"""`sweeps show`: one trial, with its configuration, result, epochs, attempts and files."""

from typing import Annotated

import typer

from sweeps.cli.completions import trial_names
from sweeps.cli.json_output import JsonOption, print_json
from sweeps.cli.sweep_arguments import Runs, SweepOption, find_named_trial
from sweeps.monitor.json_content import trial_content
from sweeps.monitor.trial_report import read_trial_report
from sweeps.monitor.trial_view import TrialView, file_lines
from sweeps.tables import output_console
from sweeps.text import printable

TrialName = Annotated[
    str,
    typer.Argument(
        metavar="TRIAL",
        help="number of the trial, its name, its beginning, or best; also sweep:number",
        autocompletion=trial_names,
    ),
]


def show(
    trial: TrialName, sweep: SweepOption = None, runs: Runs = None, as_json: JsonOption = False
) -> None:
    """Show one trial: configuration, result, epochs, attempts, and where its files are."""
    report = read_trial_report(*find_named_trial(trial, sweep, runs))
    if as_json:
        print_json(trial_content(report))
        return
    output_console().print(TrialView(report))
    for line in file_lines(report):  # not broken over two lines, so that paths can be copied
        print(printable(line))
