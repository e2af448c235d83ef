"""The commands that put a model to use and take it back."""

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from sweeps.cli.invocation import program_name
from sweeps.cli.sweep_arguments import (
    Name,
    Runs,
    find_sweep,
    make_or_sweeps,
    resume_command,
    runs_option,
    submit_and_watch,
)
from sweeps.config.cluster import read_cluster
from sweeps.config.experiment import SAFE_NAME
from sweeps.errors import InputError
from sweeps.filesystem.lock import Lock
from sweeps.promotion.entities import LOCK_STALE_SECONDS
from sweeps.storage.sweep import Sweep, open_sweep, runs_folder
from sweeps.text import printable
from sweeps.tracking.store import Store, acquire_lease, lease_holder, resolve_store

if TYPE_CHECKING:
    from sweeps.promotion.pipeline import Outcome

DRY = "--dry-run"
Model = Annotated[
    str | None, typer.Argument(help="the registered model (default: the latest sweep's)")
]


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
    from sweeps.promotion.confirm import (  # noqa: PLC0415 (submitit is not light)
        best_trials,
        check_promotable,
        confirm,
    )
    from sweeps.promotion.pipeline import PromotionRequest  # noqa: PLC0415
    from sweeps.promotion.pipeline import promote as take_the_steps  # noqa: PLC0415

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
    wish = PromotionRequest(trials, dry_run, force, _say)
    _conclude(sweep, take_the_steps(sweep, wish), dry_run=dry_run)


def rollback(model: Model = None, runs: Runs = None) -> None:
    """Make the champion before this one the champion again."""
    name, store = _model(model, runs)
    from sweeps.promotion.registry import Registry  # noqa: PLC0415 (seconds to import)

    if not acquire_lease(store):
        where = f"{store.runs.database} is written to from {lease_holder(store)}"
        raise InputError(f"{where}; roll back there, or first: sweeps sync --take-over")
    with Lock(store.runs.registry_lock(name), stale_after=LOCK_STALE_SECONDS).hold():
        left, reached = Registry(store, name).roll_back()
    typer.echo(f"{name}: the champion was version {left} and is version {reached}")
    typer.echo("the same command again takes this back")


def models(model: Model = None, runs: Runs = None) -> None:
    """Show the versions of a registered model: scores, aliases, and why each was let in."""
    name, store = _model(model, runs)
    from sweeps.promotion.registry import Registry  # noqa: PLC0415
    from sweeps.promotion.view import versions_table  # noqa: PLC0415

    versions = Registry(store, name).versions()
    if not versions:
        raise InputError(f"no model {name!r} in {store.uri}; promote one with: make promote")
    Console().print(versions_table(name, versions))


def _conclude(sweep: Sweep, outcome: "Outcome", *, dry_run: bool) -> None:
    """Say how it ended and what to type next; end with status 1 where the gate refused."""
    name = sweep.experiment.model_name
    if not outcome.passed:
        typer.echo("refused; the champion, if there is one, stays as it is")
        typer.echo(f"  to promote all the same: {_again(sweep)} --force 'the reason'")
        raise typer.Exit(1)
    if dry_run or outcome.version is None:
        typer.echo(f"it may be promoted; do so with: {_again(sweep)}")
        return
    typer.echo(f"champion: {name} version {outcome.version}")
    typer.echo(f"take it back with: {make_or_sweeps('rollback', sweep, 'rollback', name)}")
    typer.echo(f"use it with: {_use(sweep)}")


def _again(sweep: Sweep) -> str:
    """The command that promotes in earnest."""
    command = open_sweep(sweep.paths.confirmation).plan.command
    return printable(shlex.join([program_name("sweeps"), *(w for w in command if w != DRY)]))


def _use(sweep: Sweep) -> str:
    """The command by which the trainer's own program uses the champion."""
    uri = f"models:/{sweep.experiment.model_name}@champion"
    name, *words = sweep.resolved.trainer.usage(sweep.resolved.base, uri)
    place, tracking = runs_option(sweep), sweep.plan.cluster.tracking
    where = f"SWEEPS_RUNS={shlex.quote(place[1])} " if place else ""
    where += f"MLFLOW_TRACKING_URI={shlex.quote(tracking)} " if tracking else ""
    return printable(where + shlex.join([program_name(name), *words]))


def _model(model: str | None, runs: Path | None) -> tuple[str, Store]:
    """Which registered model is meant, and the store that has it."""
    if model is not None and not SAFE_NAME.fullmatch(model):
        raise InputError(f"{model!r} is no model's name: letters, digits, - and _")
    folder = runs_folder(runs)
    searches = folder.sweeps()
    tracking = None
    if searches or model is None:
        sweep = open_sweep(find_sweep(None, runs, searches=True))
        model, tracking = model or sweep.experiment.model_name, sweep.plan.cluster.tracking
    store = resolve_store(folder, tracking)
    if store.is_database_here and not store.runs.database.exists():
        raise InputError(f"there is no {store.runs.database}; promote a model with: make promote")
    return model, store


def _say(line: str) -> None:
    Console().print(printable(line), soft_wrap=True, highlight=False, markup=False)
