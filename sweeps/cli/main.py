"""The command line of sweeps; each command is imported only when it is called.

Exit status: 0 success, 1 the work failed, 2 the input or the command line is wrong.
"""

import sys
from typing import Annotated

import typer

from sweeps.cli.exit import run_and_exit
from sweeps.cli.lazy import Version, lazy_app

DESCRIPTION = "Hyperparameter sweeps whose only shared state is a folder."
COMMANDS = {
    "run": ("sweeps.cli.run:run", "Start or resume a sweep, and show its progress."),
    "plan": ("sweeps.cli.plan:plan", "Show what run would do and its cost; submit nothing."),
    "doctor": ("sweeps.cli.doctor:doctor", "Check that a sweep can work here and in a job."),
    "watch": ("sweeps.cli.watch:watch", "Show the progress of a sweep until it ends."),
    "status": ("sweeps.cli.status:status", "Show the current state of a sweep."),
    "show": ("sweeps.cli.show:show", "Show one trial: result, epochs, attempts, files."),
    "export": ("sweeps.cli.export:export", "Print the trials of a sweep as CSV."),
    "report": ("sweeps.cli.report:report", "Write what a sweep shows as one HTML page."),
    "compare": ("sweeps.cli.compare:compare", "Write a page that compares several sweeps."),
    "rerun": ("sweeps.cli.rerun:rerun", "Train a trial again, beside the sweep."),
    "stop": ("sweeps.cli.stop:stop", "Stop a sweep without losing work; run resumes it."),
    "sync": ("sweeps.cli.sync:sync", "Send to MLflow everything that it does not have yet."),
    "ui": ("sweeps.cli.ui:ui", "Update MLflow and serve its web pages on this machine."),
    "dashboard": ("sweeps.cli.dashboard:dashboard", "Serve Optuna's pages of a sweep's study."),
    "clean": ("sweeps.cli.clean:clean", "List files that are not needed; remove them with --yes."),
    "promote": ("sweeps.cli.promote:promote", "Confirm the best trials; promote the best model."),
    "rollback": ("sweeps.cli.models:rollback", "Make the previous champion the champion again."),
    "models": ("sweeps.cli.models:models", "Show the versions of a registered model."),
    "submit": ("sweeps.cli.internal.submit:submit", ""),
    "work": ("sweeps.cli.internal.work:work", ""),
    "publish": ("sweeps.cli.internal.publish:publish", ""),
}
"""Each command's function and its line in the help; commands without a line are hidden."""


def options(
    debug: Annotated[
        bool, typer.Option("--debug", help="show the full traceback of an error")
    ] = False,
    version: Version = False,
) -> None:
    """Hyperparameter sweeps whose only shared state is a folder."""


app = lazy_app(DESCRIPTION, COMMANDS, options)


def main() -> None:
    """Run the command line; an error is shown as one line."""
    run_and_exit("sweeps", app, sys.argv[1:])
