"""`sweeps promote`: from the best trials to the registered champion."""

import shlex
from typing import Annotated

import typer
from rich.console import Console

from sweeps.cli.run import submit_and_watch
from sweeps.cli.sweep_arguments import (
    Name,
    Runs,
    find_sweep,
    make_or_sweeps,
    program_name,
    resume_command,
    runs_option,
)
from sweeps.config.cluster import read_cluster
from sweeps.promotion.confirm import best_trials, check_promotable, confirm
from sweeps.promotion.pipeline import Outcome, PromotionRequest
from sweeps.promotion.pipeline import promote as run_promotion
from sweeps.storage.sweep import Sweep, open_sweep
from sweeps.text import printable

DRY = "--dry-run"


def promote(
    name: Name = None,
    runs: Runs = None,
    trial: Annotated[
        str | None, typer.Option("--trial", help="this trial, instead of the best few")
    ] = None,
    cluster: Annotated[
        str | None, typer.Option("--cluster", help="where to confirm (default: as the sweep)")
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="train again, score and decide; register nothing")
    ] = False,
    force: Annotated[
        str, typer.Option("--force", help="promote whatever is found, for the reason given")
    ] = "",
) -> None:
    """Train the best trials again, score the best one, and make it the champion if it is better."""
    sweep = open_sweep(find_sweep(name, runs, searches=True))
    check_promotable(sweep)
    trials = best_trials(sweep, trial)
    place = sweep.plan.cluster if cluster is None else read_cluster(cluster)
    given = [("--trial", trial), ("--cluster", cluster), ("--force", force)]
    options = [word for option, value in given if value for word in (option, value)]
    again = ("promote", sweep.paths.name, *runs_option(sweep), *options)
    command = (*again, DRY) if dry_run else again
    confirmation = confirm(sweep, trials, place, command)
    if not confirmation.is_over():
        seeds = sweep.experiment.promotion.seeds
        typer.echo(f"training the best again from {seeds} seeds: {confirmation.paths.name}")
        if not submit_and_watch(confirmation, place.scheduler):
            typer.echo(f"  go on with: {resume_command(confirmation)}")
            return
    if not confirmation.is_over():
        typer.echo(f"the confirmation is not complete; go on with: {resume_command(confirmation)}")
        raise typer.Exit(1)
    request = PromotionRequest(trials, dry_run, force, _print_line)
    _print_outcome(sweep, run_promotion(sweep, request), dry_run=dry_run)


def _print_outcome(sweep: Sweep, outcome: Outcome, *, dry_run: bool) -> None:
    """Say how it ended and what to type next; end with status 1 where the gate refused."""
    name = sweep.experiment.model_name
    if not outcome.passed:
        typer.echo("refused; the champion, if there is one, stays as it is")
        typer.echo(f"  to promote all the same: {_promote_command(sweep)} --force 'the reason'")
        raise typer.Exit(1)
    if dry_run or outcome.version is None:
        typer.echo(f"it may be promoted; do so with: {_promote_command(sweep)}")
        return
    typer.echo(f"champion: {name} version {outcome.version}")
    typer.echo(f"take it back with: {make_or_sweeps('rollback', sweep, 'rollback', name)}")
    typer.echo(f"use it with: {_usage_command(sweep)}")


def _promote_command(sweep: Sweep) -> str:
    """The command that promotes in earnest."""
    command = open_sweep(sweep.paths.confirmation).plan.command
    return printable(shlex.join([program_name("sweeps"), *(w for w in command if w != DRY)]))


def _usage_command(sweep: Sweep) -> str:
    """The command by which the trainer's own program uses the champion."""
    uri = f"models:/{sweep.experiment.model_name}@champion"
    name, *words = sweep.resolved.trainer.usage(sweep.resolved.base, uri)
    place, tracking = runs_option(sweep), sweep.plan.cluster.tracking
    where = f"SWEEPS_RUNS={shlex.quote(place[1])} " if place else ""
    where += f"MLFLOW_TRACKING_URI={shlex.quote(tracking)} " if tracking else ""
    return printable(where + shlex.join([program_name(name), *words]))


def _print_line(line: str) -> None:
    Console().print(printable(line), soft_wrap=True, highlight=False, markup=False)
