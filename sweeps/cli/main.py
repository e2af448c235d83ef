"""The command line of sweeps.

Exit status: 0 done, 1 the work failed, 2 the input or the command line is wrong. Only what every
command needs is imported at the top: `sweeps status` must answer at once on a busy login node.
"""

import json
import os
import shutil
import signal
import sys
import time
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from sweeps.cli import promotion
from sweeps.cli.exit import run_and_exit
from sweeps.cli.sweep_arguments import (
    Name,
    Runs,
    find_sweep,
    make_or_sweeps,
    print_detached,
    resume_command,
    submit_and_watch,
    sweep_command,
    sweeps_by_age,
    watch_until_done,
)
from sweeps.errors import EnvironmentFailure
from sweeps.storage.paths import SweepPaths
from sweeps.storage.sweep import Sweep, open_sweep, runs_folder, stop_sweep
from sweeps.text import one_line, printable

HIPMRI = Path("/home/groups/comp3710/HipMRI_Study_open")
"""Where the study's data lie on Rangpur."""

app = typer.Typer(
    help="Hyperparameter sweeps whose only shared state is a folder.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
for command in (promotion.promote, promotion.rollback, promotion.models):
    app.command()(command)


@app.callback()
def options(
    debug: Annotated[bool, typer.Option("--debug", help="show the traceback of an error")] = False,
) -> None:
    """Hyperparameter sweeps whose only shared state is a folder."""


@app.command()
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
    from sweeps.jobs.start import SweepRequest, prepare_sweep  # noqa: PLC0415 (submitit is not light)

    path, cluster = _defaults(experiment, cluster)
    sweep = prepare_sweep(SweepRequest(path, cluster, runs_folder(runs), trials))
    if submit_and_watch(sweep, cluster, watching=watching):
        _conclude(sweep)


@app.command("plan")
def plan_command(
    experiment: Annotated[Path | None, typer.Argument(help="as for run")] = None,
    cluster: Annotated[str | None, typer.Option("--cluster", help="as for run")] = None,
    runs: Runs = None,
    trials: Annotated[int | None, typer.Option(min=1, help="as for run")] = None,
) -> None:
    """Show what run would do, and what it may cost; send nothing."""
    from sweeps.cli.plan import describe_plan  # noqa: PLC0415
    from sweeps.jobs.start import SweepRequest  # noqa: PLC0415

    path, cluster = _defaults(experiment, cluster)
    for line in describe_plan(SweepRequest(path, cluster, runs_folder(runs), trials)):
        typer.echo(printable(line))


@app.command()
def doctor(
    experiment: Annotated[Path | None, typer.Argument(help="as for run")] = None,
    cluster: Annotated[str | None, typer.Option("--cluster", help="as for run")] = None,
    runs: Runs = None,
    wait: Annotated[float, typer.Option(min=0, help="minutes for the job to start and end")] = 10.0,
) -> None:
    """Look whether a sweep can work here, and in a job of a minute."""
    from sweeps.cli.doctor import run_checks  # noqa: PLC0415
    from sweeps.jobs.start import SweepRequest  # noqa: PLC0415

    path, cluster = _defaults(experiment, cluster)
    good = True
    for finding in run_checks(SweepRequest(path, cluster, runs_folder(runs)), 60 * wait):
        typer.echo(printable(finding.line()))
        good = good and finding.passed
    if not good:
        raise typer.Exit(1)


@app.command()
def watch(name: Name = None, runs: Runs = None) -> None:
    """Show a sweep until it ends. Closing this changes nothing."""
    sweep = open_sweep(find_sweep(name, runs))
    try:
        watch_until_done(sweep)
    except KeyboardInterrupt:
        print_detached(sweep)
        return
    _conclude(sweep)


@app.command()
def status(name: Name = None, runs: Runs = None) -> None:
    """Show a sweep as it stands."""
    from sweeps.monitor.lines import failure_lines  # noqa: PLC0415
    from sweeps.monitor.table import SweepTable  # noqa: PLC0415
    from sweeps.monitor.watch import current_status, job_lines  # noqa: PLC0415

    sweep = open_sweep(find_sweep(name, runs))
    now = current_status(sweep, job_lines(sweep))
    console = Console()
    console.print(SweepTable(now))
    for line in failure_lines(now.trials):
        console.print(line, markup=False, highlight=False, soft_wrap=True)
    if now.stopped is not None:
        stopped = f"stopped: {now.stopped}; go on with: {resume_command(sweep)}"
        console.print(printable(stopped), markup=False)


@app.command("stop")
def stop_command(name: Name = None, runs: Runs = None) -> None:
    """Have every worker keep its trial's last epoch, give the trial back, and leave."""
    from sweeps.jobs.status import active_jobs  # noqa: PLC0415

    sweep = open_sweep(find_sweep(name, runs))
    stop_sweep(sweep.paths, "by hand (sweeps stop)")
    typer.echo("workers leave after the epoch they are in", nl=False)
    while sweep.plan.cluster.scheduler == "local" and active_jobs(sweep.paths):
        time.sleep(0.5)
        typer.echo(".", nl=False)
    typer.echo(f"\nnothing is lost; go on with: {resume_command(sweep)}")


@app.command()
def sync(
    name: Annotated[str | None, typer.Argument(help="a sweep's name (default: all)")] = None,
    runs: Runs = None,
    rebuild: Annotated[
        bool, typer.Option("--rebuild", help="send everything again, into an empty store")
    ] = False,
    take_over: Annotated[
        bool, typer.Option("--take-over", help="write to the database from this host from now on")
    ] = False,
) -> None:
    """Bring MLflow up to what the folders say."""
    problems = _sync(_sweeps(name, runs), rebuild=rebuild, take_over=take_over)
    if problems:
        raise EnvironmentFailure("; ".join(problems))


@app.command()
def clean(
    name: Annotated[str | None, typer.Argument(help="a sweep's name (default: all)")] = None,
    runs: Runs = None,
    checkpoints: Annotated[
        bool, typer.Option("--checkpoints", help="best checkpoints too that MLflow has copies of")
    ] = False,
    keep: Annotated[int, typer.Option(min=0, help="how many of the best trials' to keep")] = 1,
    yes: Annotated[bool, typer.Option("--yes", help="remove it")] = False,
) -> None:
    """Show what files of the sweeps nobody needs, also while they run; remove them if told."""
    from sweeps.storage.cleanup import find_leftovers, remove_leftovers, spare_checkpoints  # noqa: PLC0415

    everything = []
    for sweep in _sweeps(name, runs):
        spare = spare_checkpoints(sweep, keep)
        found = find_leftovers(sweep) + ([spare] if spare is not None and checkpoints else [])
        for leftover in found:
            typer.echo(f"{sweep.paths.name}: {leftover.describe()}")
        if spare is not None and not checkpoints:
            typer.echo(f"{sweep.paths.name}: {spare.describe()} (only with --checkpoints)")
        if yes:
            remove_leftovers(found)
        everything += found
    total = f"{sum(leftover.size for leftover in everything) / 1e6:.1f} MB "
    done = "removed" if yes else "to remove, with --yes"
    typer.echo(total + done if everything else "nothing to remove")


@app.command()
def ui(
    runs: Runs = None,
    port: Annotated[
        int, typer.Option(min=1, max=65535, help="the port, or the next free one")
    ] = 5000,
) -> None:
    """Bring MLflow up to date and serve it to this machine's browser."""
    from sweeps.tracking.publisher import trials_page_path  # noqa: PLC0415
    from sweeps.tracking.store import resolve_store  # noqa: PLC0415
    from sweeps.tracking.ui import serve_ui  # noqa: PLC0415

    folder = runs_folder(runs)
    sweeps = [open_sweep(paths) for paths in sweeps_by_age(folder)]
    problems = _sync(sweeps)
    for problem in problems:
        typer.echo(f"not all is up to date: {one_line(problem)}", err=True)
    store = resolve_store(folder, sweeps[-1].plan.cluster.tracking if sweeps else None)
    searches = [sweep for sweep in sweeps if sweep.plan.confirms is None]
    page = trials_page_path(searches[-1], store) if searches and not problems else ""
    serve_ui(store, port, page)


@app.command(hidden=True)
def submit(folder: Path) -> None:
    """Send missing jobs to this machine: what a launcher starts in a session of its own."""
    from sweeps.jobs.launcher import submit_missing_here  # noqa: PLC0415

    print(json.dumps(submit_missing_here(open_sweep(SweepPaths(folder)))))


@app.command(hidden=True)
def work(
    folder: Path,
    job: Annotated[str, typer.Option()],
    threads: Annotated[int, typer.Option(min=1)] = 1,
    until: Annotated[float, typer.Option(help="seconds since 1970")] = float("inf"),
    trials: Annotated[int, typer.Option(min=0)] = 0,
    exclusive: Annotated[
        bool, typer.Option("--exclusive", help="nobody else uses the device")
    ] = False,
    exclusive_only: Annotated[
        bool, typer.Option("--exclusive-only", help="only trials that need that")
    ] = False,
) -> None:
    """Run trials until nothing is left to do: what a supervisor starts."""
    from sweeps.filesystem.disk_space import is_disk_full  # noqa: PLC0415
    from sweeps.search.study import Study  # noqa: PLC0415
    from sweeps.workers.exit_codes import ExitCode  # noqa: PLC0415
    from sweeps.workers.worker import Worker  # noqa: PLC0415

    sweep = open_sweep(SweepPaths(folder))
    # Resolved before anything is claimed: a trainer that cannot be had here costs no trial a try.
    try:
        study = Study(sweep.paths, sweep.resolved.experiment, stale_after=sweep.claim_seconds)
    except OSError as error:
        if not is_disk_full(error):
            raise
        os._exit(ExitCode.DISK_FULL)
    deadline = time.monotonic() + until - time.time()
    worker = Worker(sweep, study, job, threads, deadline, trials, exclusive, exclusive_only)
    for number in (signal.SIGTERM, signal.SIGUSR2):
        signal.signal(number, lambda *_: worker.leaving.set())
    if end := worker.run():
        # At once: the last words of a library, or of Python into a log on a full disk, would
        # change the status.
        os._exit(end)


@app.command(hidden=True)
def publish(folder: Path) -> None:
    """Keep MLflow up with one sweep: what a supervisor starts."""
    from sweeps.tracking.sync import publish_until_terminated  # noqa: PLC0415

    publish_until_terminated(folder)


def main() -> None:
    """Run the command line; one clear message where it fails."""
    run_and_exit("sweeps", app, sys.argv[1:])


def _conclude(sweep: Sweep) -> None:
    """Say how the sweep ended, and end with status 1 where it did not end well."""
    from sweeps.monitor.summary import summary  # noqa: PLC0415
    from sweeps.monitor.watch import current_status  # noqa: PLC0415

    lines, ended_well = summary(
        current_status(sweep),
        sweep,
        resume_command(sweep),
        make_or_sweeps("ui", sweep, "ui"),
        make_or_sweeps("promote", sweep, "promote", sweep.paths.name),
        sweep_command("sync", sweep),
    )
    for line in lines:
        Console().print(printable(line), soft_wrap=True, highlight=False, markup=False)
    if not ended_well:
        raise typer.Exit(1)


def _defaults(experiment: Path | None, cluster: str | None) -> tuple[Path, str]:
    """What to run where, for what was not said."""
    on_rangpur = shutil.which("sbatch") is not None and HIPMRI.is_dir()
    path = experiment or Path("hipmri" if on_rangpur else "quickstart")
    if path.suffix != ".toml" and not path.is_file():
        path = Path("experiments") / f"{path}.toml"
    return path, cluster or ("rangpur" if on_rangpur else "local")


def _sweeps(name: str | None, runs: Path | None) -> list[Sweep]:
    """The sweep of that name, or all of them, the latest last."""
    if name is not None:
        return [open_sweep(find_sweep(name, runs))]
    find_sweep(None, runs)  # refused where there is none
    return [open_sweep(paths) for paths in sweeps_by_age(runs_folder(runs))]


def _sync(sweeps: list[Sweep], *, rebuild: bool = False, take_over: bool = False) -> list[str]:
    from sweeps.tracking.store import take_over as take_lease  # noqa: PLC0415
    from sweeps.tracking.sync import forget_publication, publish_once, store_of_sweep  # noqa: PLC0415

    problems = []
    for sweep in sweeps:
        if take_over:
            take_lease(store_of_sweep(sweep))
        if rebuild:
            forget_publication(sweep)
        typer.echo(f"publishing {sweep.paths.name}")
        problem = publish_once(sweep)
        problems += [f"{sweep.paths.name}: {problem}"] if problem else []
    return problems
