"""The commands that put a model to use and take it back."""

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from sweeps.cluster import read_cluster
from sweeps.errors import InputError
from sweeps.invocation import program
from sweeps.shell import Name, Runs, come_back, make_or, named, place_of, send_and_watch
from sweeps.store import Store, store_of
from sweeps.sweep import Sweep, open_sweep, runs_folder

if TYPE_CHECKING:
    from sweeps.promotion.steps import Outcome

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
        bool, typer.Option("--dry-run", help="print the decision, change nothing")
    ] = False,
    force: Annotated[
        str, typer.Option("--force", help="promote whatever is found, for the reason given")
    ] = "",
) -> None:
    """Train the best trials again, score the best one, and make it the champion if it is better."""
    from sweeps.promotion.confirm import best_trials, confirm  # noqa: PLC0415 (submitit)
    from sweeps.promotion.steps import Wish  # noqa: PLC0415
    from sweeps.promotion.steps import promote as take_the_steps  # noqa: PLC0415

    sweep = open_sweep(named(name, runs, searches=True))
    trials = best_trials(sweep, trial)
    place = sweep.plan.cluster if cluster is None else read_cluster(cluster)
    given = [("--trial", trial), ("--cluster", cluster), ("--force", force)]
    options = [word for option, value in given if value for word in (option, value)]
    command = ("promote", sweep.paths.name, *place_of(sweep), *options)
    confirmation = confirm(sweep, trials, place, command)
    if not confirmation.is_over():
        seeds = sweep.experiment.promotion.seeds
        typer.echo(f"training the best again from {seeds} seeds: {confirmation.paths.name}")
        if not send_and_watch(confirmation, place.scheduler):
            typer.echo(f"  go on with: {come_back(confirmation)}")
            return
    if not confirmation.is_over():
        typer.echo(f"the confirmation is not complete; go on with: {come_back(confirmation)}")
        raise typer.Exit(1)
    wish = Wish(trials, dry_run, force, _say)
    _conclude(sweep, take_the_steps(sweep, wish), dry_run=dry_run)


def rollback(model: Model = None, runs: Runs = None) -> None:
    """Make the champion before this one the champion again."""
    from sweeps.promotion.registry import Registry  # noqa: PLC0415 (seconds to import)

    name, store = _model(model, runs)
    left, reached = Registry(store, name).roll_back()
    typer.echo(f"{name}: the champion was version {left} and is version {reached}")
    typer.echo("the same command again takes this back")


def models(model: Model = None, runs: Runs = None) -> None:
    """Show the versions of a registered model: scores, aliases, and why each was let in."""
    from sweeps.promotion.registry import Registry  # noqa: PLC0415
    from sweeps.promotion.view import history  # noqa: PLC0415

    name, store = _model(model, runs)
    versions = Registry(store, name).versions()
    if not versions:
        raise InputError(f"no model {name!r} in {store.uri}; promote one with: make promote")
    Console().print(history(name, versions))


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
    typer.echo(f"take it back with: {make_or('rollback', sweep, 'rollback', name)}")
    typer.echo(f"use it with: {_use(sweep)}")


def _again(sweep: Sweep) -> str:
    return come_back(open_sweep(sweep.paths.confirmation))


def _use(sweep: Sweep) -> str:
    """The command by which the trainer's own program uses the champion."""
    uri = f"models:/{sweep.experiment.model_name}@champion"
    name, *words = sweep.resolved.trainer.usage(sweep.resolved.base, uri)
    place = place_of(sweep)
    where = f"SWEEPS_RUNS={shlex.quote(place[1])} " if place else ""
    return where + shlex.join([program(name), *words])


def _model(model: str | None, runs: Path | None) -> tuple[str, Store]:
    """Which registered model is meant, and the store that has it."""
    folder = runs_folder(runs)
    if model is not None and not folder.sweeps():
        return model, store_of(folder, None)
    sweep = open_sweep(named(None, runs, searches=True))
    return model or sweep.experiment.model_name, store_of(folder, sweep.plan.cluster.tracking)


def _say(line: str) -> None:
    Console().print(line, soft_wrap=True, highlight=False, markup=False)
