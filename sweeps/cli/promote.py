"""`sweeps promote`: confirm the best trials, and register the best model as the champion."""

import shlex
from typing import TYPE_CHECKING, Annotated

import typer

from sweeps.cli.promotion_forecast import forecast
from sweeps.cli.run import submit_and_watch
from sweeps.cli.sweep_arguments import (
    Name,
    Runs,
    find_sweep,
    make_or_sweeps,
    program_words,
    resume_command,
    runs_option,
)
from sweeps.cli.version_text import version_lines
from sweeps.config.cluster import read_cluster
from sweeps.jobs.start import check_local_device
from sweeps.promotion.confirm import best_trials, confirm
from sweeps.promotion.promotable import check_promotable
from sweeps.storage.sweep import Sweep, open_sweep
from sweeps.text import on_own_line, printable

if TYPE_CHECKING:
    from sweeps.promotion.pipeline import Outcome

DRY_RUN = "--dry-run"


def promote(
    name: Name = None,
    runs: Runs = None,
    trial: Annotated[
        str | None, typer.Option("--trial", help="promote this trial (default: the best trials)")
    ] = None,
    cluster: Annotated[
        str | None,
        typer.Option("--cluster", help="cluster for the confirmation (default: the sweep's)"),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option(DRY_RUN, help="train, score and decide, but register nothing")
    ] = False,
    force: Annotated[
        str, typer.Option("--force", help="promote even if a check fails; give the reason")
    ] = "",
) -> None:
    """Train the best trials again with new seeds; promote the best model if it passes each check.

    First, one line says what will be trained and about how long that takes.
    """
    sweep = open_sweep(find_sweep(name, runs))
    check_promotable(sweep)
    trials = best_trials(sweep, trial)
    site = sweep.plan.cluster if cluster is None else read_cluster(cluster)
    given = [("--trial", trial), ("--cluster", cluster), ("--force", force)]
    options = [word for option, value in given if value for word in (option, value)]
    command = ("promote", sweep.paths.name, *runs_option(sweep), *options)
    confirmation = confirm(sweep, trials, site, (*command, DRY_RUN) if dry_run else command)
    _print_line(forecast(sweep, trials, site))
    if not confirmation.is_over():
        check_local_device(confirmation.resolved, site)
        if not submit_and_watch(confirmation, site.scheduler):
            print(on_own_line("continue the promotion with", resume_command(confirmation)))
            return
    if not confirmation.is_over():
        what = "not every training has ended, so nothing is decided yet; continue with"
        print(on_own_line(what, resume_command(confirmation)))
        raise typer.Exit(1)
    from sweeps.promotion.pipeline import PromotionRequest
    from sweeps.promotion.pipeline import promote as run_promotion

    request = PromotionRequest(trials, dry_run, force, _print_line)
    _print_outcome(sweep, run_promotion(sweep, request), dry_run=dry_run)


def _print_outcome(sweep: Sweep, outcome: "Outcome", *, dry_run: bool) -> None:
    """Print the outcome and the commands to type next.

    Raises:
        typer.Exit: the gate refused the candidate (status 1).
    """
    name = sweep.experiment.model_name
    if not outcome.passed:
        print("refused: the model did not pass every check, so the champion stays as it is")
        forced = f"{_promote_command(sweep)} --force 'the reason'"
        print(on_own_line("to promote the model anyway, give a reason", forced))
        raise typer.Exit(1)
    if dry_run and not outcome.was_champion:
        what = "the model may be promoted; promote it with"
        print(on_own_line(what, _promote_command(sweep)))
        return
    if outcome.was_champion:
        print("nothing has changed")
    else:
        print(f"champion: {name} version {outcome.version}")
    if outcome.champion is not None:
        for line in version_lines(outcome.champion, outcome.folder):
            _print_line(line)
    if outcome.replaced is not None:
        print(on_own_line("undo with", make_or_sweeps("rollback", sweep, "rollback", name)))
    print(on_own_line("use the model with", _usage_command(sweep)))


def _promote_command(sweep: Sweep) -> str:
    """Return the command that promotes without --dry-run."""
    command = open_sweep(sweep.paths.confirmation).plan.command
    return printable(shlex.join([*program_words("sweeps"), *(w for w in command if w != DRY_RUN)]))


def _usage_command(sweep: Sweep) -> str:
    """Return the command of the trainer's own program that uses the champion."""
    uri = f"models:/{sweep.experiment.model_name}@champion"
    name, *words = sweep.resolved.trainer.usage(sweep.resolved.base, uri)
    option, tracking = runs_option(sweep), sweep.plan.cluster.tracking
    variables = f"SWEEPS_RUNS={shlex.quote(option[1])} " if option else ""
    variables += f"MLFLOW_TRACKING_URI={shlex.quote(tracking)} " if tracking else ""
    return printable(variables + shlex.join([*program_words(name), *words]))


def _print_line(line: str) -> None:
    print(printable(line))
