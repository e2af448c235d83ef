"""`sweeps run`: start or resume a sweep, and show its progress."""

import itertools
from typing import Annotated

import typer

from sweeps.cli.defaults import choose_defaults
from sweeps.cli.store_notes import print_choice, print_notes
from sweeps.cli.sweep_arguments import (
    ClusterName,
    ExperimentFile,
    Runs,
    TotalTrials,
    sweep_command,
)
from sweeps.cli.watching import print_detached, print_summary, watch_until_done
from sweeps.jobs.job_status import jobs_elsewhere
from sweeps.jobs.notify import notify
from sweeps.jobs.slurm.submission_environment import environment_notes
from sweeps.jobs.start import SweepRequest, TopUp, prepare_sweep
from sweeps.storage.sweep import Sweep, runs_folder
from sweeps.text import on_own_line, printable
from sweeps.tracking.sync import store_of_sweep


def run(
    experiment: ExperimentFile = None,
    cluster: ClusterName = None,
    runs: Runs = None,
    trials: TotalTrials = None,
    watching: Annotated[
        bool, typer.Option("--watch/--no-watch", help="show progress until the sweep ends")
    ] = True,
) -> None:
    """Start or resume a sweep, and show its progress. Running it again starts nothing twice."""
    path, cluster = choose_defaults(experiment, cluster)
    sweep = prepare_sweep(SweepRequest(path, cluster, runs_folder(runs), trials))
    store = store_of_sweep(sweep)
    print_choice(store)
    print_notes(store)
    for note in environment_notes(sweep.plan.cluster):
        print(printable(note))
    if submit_and_watch(sweep, cluster, watching=watching):
        notify(sweep)  # where the last supervisor was killed
        print_summary(sweep)


def submit_and_watch(sweep: Sweep, cluster: str, *, watching: bool = True) -> bool:
    """Submit the missing jobs and watch them; repeat as long as they make progress.

    Returns:
        True when no more jobs are needed; False if `watching` is off or ended with Ctrl-C.
    """
    top_up = TopUp(sweep)
    try:
        for submitted in itertools.chain([top_up.send()], iter(top_up.send, [])):
            for number in submitted:
                print(f"job {number} submitted to {cluster}")
            if not watching:
                for line in jobs_elsewhere(sweep.paths):
                    print(printable(line))
                print(on_own_line("watch with", sweep_command("watch", sweep)))
                return False
            watch_until_done(sweep)
    except KeyboardInterrupt:
        print_detached(sweep)
        return False
    return True
