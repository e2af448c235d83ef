"""`sweeps stop`: end a sweep cleanly, so that it can be gone on with."""

import time

import typer

from sweeps.cli.sweep_arguments import Name, Runs, find_sweep, resume_command
from sweeps.jobs.status import active_jobs
from sweeps.storage.sweep import open_sweep, stop_sweep


def stop(name: Name = None, runs: Runs = None) -> None:
    """Have every worker keep its trial's last epoch, give the trial back, and leave."""
    sweep = open_sweep(find_sweep(name, runs))
    stop_sweep(sweep.paths, "by hand (sweeps stop)")
    typer.echo("workers leave after the epoch they are in", nl=False)
    while sweep.plan.cluster.scheduler == "local" and active_jobs(sweep.paths):
        time.sleep(0.5)
        typer.echo(".", nl=False)
    typer.echo(f"\nnothing is lost; go on with: {resume_command(sweep)}")
