"""`sweeps sync`: send to MLflow what the sweeps' folders have and it does not."""

from typing import Annotated

import typer

from sweeps.cli.store_notes import print_notes
from sweeps.cli.sweep_arguments import Runs, find_sweeps
from sweeps.errors import EnvironmentFailure, InputError
from sweeps.storage.sweep import Sweep
from sweeps.storage.trial_record import is_published
from sweeps.text import count
from sweeps.tracking.access import why_no_permission
from sweeps.tracking.store import take_over as take_over_lease
from sweeps.tracking.sync import forget_publication, publish_once, store_of_sweep


def sync(
    name: Annotated[
        str | None, typer.Argument(help="name of the sweep (default: all sweeps)")
    ] = None,
    runs: Runs = None,
    rebuild: Annotated[
        bool, typer.Option("--rebuild", help="send everything again, into an empty store")
    ] = False,
    take_over: Annotated[
        bool, typer.Option("--take-over", help="from now on, write to the database from this host")
    ] = False,
) -> None:
    """Send to MLflow everything in the sweeps' folders that it does not have yet."""
    sweeps = find_sweeps(name, runs)
    if (reason := why_no_permission(store_of_sweep(sweeps[-1]))) is not None:
        raise InputError(f"nothing was sent: {reason}")
    problems = sync_sweeps(sweeps, rebuild=rebuild, take_over=take_over)
    print_notes(store_of_sweep(sweeps[-1]))
    if problems:
        raise EnvironmentFailure("; ".join(problems))


def sync_sweeps(
    sweeps: list[Sweep], *, rebuild: bool = False, take_over: bool = False
) -> list[str]:
    """Send to MLflow what the folders of these sweeps have and it does not.

    Args:
        sweeps: the sweeps.
        rebuild: send everything again.
        take_over: from now on, write to the database from this host.

    Returns:
        One message for each sweep that could not be sent completely.
    """
    problems = []
    for sweep in sweeps:
        if take_over:
            take_over_lease(store_of_sweep(sweep))
        if rebuild:
            forget_publication(sweep)
        print(_what_is_sent(sweep), flush=True)
        problem = publish_once(sweep)
        problems += [f"{sweep.paths.name}: {problem}"] if problem else []
    return problems


def _what_is_sent(sweep: Sweep) -> str:
    """Return what is waited for, in one line."""
    trials = sweep.paths.trials()
    missing = sum(not is_published(trial) for trial in trials)
    waiting = f"{missing} of {count(len(trials), 'trial')} are not complete there"
    state = waiting if missing else "all trials are there; its page is brought up to date"
    return f"writing the results of {sweep.paths.name} to MLflow ({state})"
