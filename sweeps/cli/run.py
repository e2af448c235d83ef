"""`sweeps run`: start a sweep, or go on with it, and watch."""

import itertools
from pathlib import Path
from typing import Annotated

import typer

from sweeps.cli.defaults import choose_defaults
from sweeps.cli.sweep_arguments import Runs, sweep_command
from sweeps.cli.watching import print_detached, print_summary, watch_until_done
from sweeps.jobs.start import SweepRequest, TopUp, prepare_sweep
from sweeps.storage.sweep import Sweep, runs_folder


def run(
    experiment: Annotated[
        Path | None, typer.Argument(help="a TOML file, or its name in experiments/")
    ] = None,
    cluster: Annotated[
        str | None, typer.Option("--cluster", help="a file's name in experiments/clusters/")
    ] = None,
    runs: Runs = None,
    trials: Annotated[
        int | None, typer.Option(min=1, help="how many trials in all, instead of the file's")
    ] = None,
    watching: Annotated[
        bool, typer.Option("--watch/--no-watch", help="stay and show how it goes")
    ] = True,
) -> None:
    """Start a sweep, or go on with it; then watch. Running it again never doubles anything."""
    path, cluster = choose_defaults(experiment, cluster)
    sweep = prepare_sweep(SweepRequest(path, cluster, runs_folder(runs), trials))
    if submit_and_watch(sweep, cluster, watching=watching):
        print_summary(sweep)


def submit_and_watch(sweep: Sweep, cluster: str, *, watching: bool = True) -> bool:
    """Send the jobs that are missing and watch them, again and again while they get anywhere.

    Returns:
        Whether that is all; False where somebody ended the watching, or did not want it.
    """
    top_up = TopUp(sweep)
    try:
        for sent in itertools.chain([top_up.send()], iter(top_up.send, [])):
            for number in sent:
                typer.echo(f"job {number} sent to {cluster}")
            if not watching:
                typer.echo(f"watch it with: {sweep_command('watch', sweep)}")
                return False
            watch_until_done(sweep)
    except KeyboardInterrupt:
        print_detached(sweep)
        return False
    return True
