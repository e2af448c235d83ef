"""Showing a sweep's progress, and its summary when it has ended."""

from contextlib import nullcontext

import typer

from sweeps.cli.sweep_arguments import make_or_sweeps, resume_command, sweep_command
from sweeps.monitor.summary import NextCommands, summarize
from sweeps.monitor.watch import current_status, watch
from sweeps.promotion.promotable import why_not_promotable
from sweeps.report.page import write_report
from sweeps.storage.sweep import Sweep
from sweeps.tables import output_console
from sweeps.text import on_own_line, printable, shown_path
from sweeps.tracking.sync import publishing


def watch_until_done(sweep: Sweep) -> None:
    """Show the sweep's progress until its jobs have ended, and publish it meanwhile."""
    # On this machine the job's own publisher does this.
    is_remote = sweep.plan.cluster.scheduler != "local"
    with publishing(sweep) if is_remote else nullcontext():
        watch(sweep, output_console())


def print_detached(sweep: Sweep) -> None:
    """Print that the sweep continues after its watcher was closed, and the next commands."""
    print("\nthe sweep continues without this watcher")
    print(on_own_line("watch again with", sweep_command("watch", sweep)))
    print(on_own_line("stop with", sweep_command("stop", sweep)))


def _write_report(sweep: Sweep) -> str | None:
    """Write the sweep's report and return its path; None if it cannot be written.

    What happened stands in the summary in any case, so a full disk is no error here.
    """
    try:
        return shown_path(write_report(sweep))
    except Exception:  # noqa: BLE001 (an extra: the sweep's end is told without it)
        return None


def _models_command(sweep: Sweep) -> str | None:
    """Return the command that shows the registered models; None if the best is not among them."""
    from sweeps.promotion.promoted import is_promoted  # with it comes submitit, for a confirmation

    return make_or_sweeps("models", sweep, "models") if is_promoted(sweep) else None


def print_summary(sweep: Sweep) -> None:
    """Print how the sweep ended, and the commands to type next.

    Raises:
        typer.Exit: the sweep is not over, or no trial is complete (status 1).
    """
    commands = NextCommands(
        resume=resume_command(sweep),
        report=_write_report(sweep) if sweep.is_over() else None,
        compare=make_or_sweeps("ui", sweep, "ui"),
        promote=None
        if why_not_promotable(sweep)
        else make_or_sweeps("promote", sweep, "promote", sweep.paths.name),
        models=_models_command(sweep),
        sync=sweep_command("sync", sweep),
    )
    summary = summarize(current_status(sweep), sweep, commands)
    for line in summary.lines:
        print(printable(line))
    if not summary.ended_well:
        raise typer.Exit(1)
