"""Watching a sweep, and what is printed when it ends."""

from contextlib import nullcontext

import typer
from rich.console import Console

from sweeps.cli.sweep_arguments import make_or_sweeps, resume_command, sweep_command
from sweeps.monitor.summary import NextCommands, summarize
from sweeps.monitor.watch import current_status, watch
from sweeps.storage.sweep import Sweep
from sweeps.text import printable
from sweeps.tracking.sync import publishing


def watch_until_done(sweep: Sweep) -> None:
    """Watch to the end of the sweep's jobs."""
    elsewhere = sweep.plan.cluster.scheduler != "local"
    with publishing(sweep) if elsewhere else nullcontext():
        watch(sweep, Console())


def print_detached(sweep: Sweep) -> None:
    """What a person is told who closes a watcher."""
    typer.echo("\nthe sweep goes on without this watcher")
    typer.echo(f"  watch it again: {sweep_command('watch', sweep)}")
    typer.echo(f"  end it: {sweep_command('stop', sweep)}")


def print_summary(sweep: Sweep) -> None:
    """Print how the sweep ended and what to type next.

    Raises:
        typer.Exit: with status 1, where it did not end well.
    """
    commands = NextCommands(
        resume=resume_command(sweep),
        compare=make_or_sweeps("ui", sweep, "ui"),
        promote=make_or_sweeps("promote", sweep, "promote", sweep.paths.name),
        sync=sweep_command("sync", sweep),
    )
    summary = summarize(current_status(sweep), sweep, commands)
    for line in summary.lines:
        Console().print(printable(line), soft_wrap=True, highlight=False, markup=False)
    if not summary.ended_well:
        raise typer.Exit(1)
