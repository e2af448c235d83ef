"""The command line of sweeps: its commands, each imported when it is named.

Exit status: 0 done, 1 the work failed, 2 the input or the command line is wrong.
"""

import sys
from typing import Annotated

import typer

from sweeps.cli.exit import run_and_exit
from sweeps.cli.lazy import lazy_app

DESCRIPTION = "Hyperparameter sweeps whose only shared state is a folder."
COMMANDS = {
    "run": ("sweeps.cli.run:run", "Start a sweep, or go on with it; then watch."),
    "plan": ("sweeps.cli.plan:plan", "Show what run would do, and what it may cost; send nothing."),
    "doctor": ("sweeps.cli.doctor:doctor", "Check whether a sweep can work here, and in a job."),
    "watch": ("sweeps.cli.watch:watch", "Show a sweep until it ends."),
    "status": ("sweeps.cli.status:status", "Show a sweep as it stands."),
    "stop": ("sweeps.cli.stop:stop", "End a sweep cleanly; run goes on with it."),
    "sync": ("sweeps.cli.sync:sync", "Bring MLflow up to what the folders say."),
    "ui": ("sweeps.cli.ui:ui", "Serve MLflow to this machine's browser, up to date."),
    "clean": ("sweeps.cli.clean:clean", "Show files that nobody needs; remove them with --yes."),
    "promote": ("sweeps.cli.promote:promote", "Confirm the best trials; promote the best model."),
    "rollback": ("sweeps.cli.models:rollback", "Make the champion before this one the champion."),
    "models": ("sweeps.cli.models:models", "Show the versions of a registered model."),
    "submit": ("sweeps.cli.internal.submit:submit", ""),
    "work": ("sweeps.cli.internal.work:work", ""),
    "publish": ("sweeps.cli.internal.publish:publish", ""),
}
"""Where each command is, and its line in the help; those without one are started by processes."""


def options(
    debug: Annotated[bool, typer.Option("--debug", help="show the traceback of an error")] = False,
) -> None:
    """Hyperparameter sweeps whose only shared state is a folder."""


app = lazy_app(DESCRIPTION, COMMANDS, options)


def main() -> None:
    """Run the command line; a person sees one line where it fails."""
    run_and_exit("sweeps", app, sys.argv[1:])
