"""What several commands share: which sweep is meant, watching it, and what to type next."""

import itertools
import shlex
import sys
from contextlib import nullcontext
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from sweeps.cli.invocation import program_name
from sweeps.config.experiment import is_sweep_name
from sweeps.errors import InputError
from sweeps.storage.paths import CONFIRMATION_SUFFIX, RunsPaths, SweepPaths
from sweeps.storage.sweep import Sweep, runs_folder
from sweeps.text import printable

Runs = Annotated[Path | None, typer.Option("--runs", help="folder of all sweeps (default: runs)")]
Name = Annotated[str | None, typer.Argument(help="the sweep's name (default: the latest)")]


def sweeps_by_age(folder: RunsPaths) -> list[SweepPaths]:
    """Every sweep, the latest last."""
    return sorted(folder.sweeps(), key=lambda paths: paths.plan.stat().st_mtime)


def find_sweep(name: str | None, runs: Path | None, *, searches: bool = False) -> SweepPaths:
    """The sweep of that name, or the latest.

    Args:
        name: of the sweep, if one was given.
        runs: the folder of all sweeps, if one was given.
        searches: whether confirmations are passed over.

    Raises:
        InputError: there is none yet, or the name can be none's.
    """
    folder = runs_folder(runs)
    if name is not None:
        if not is_sweep_name(name):  # `stop ../elsewhere` would write outside the runs
            raise InputError(f"no sweep {name!r}: a name is 1 to 64 letters, digits, - and _")
        return folder.sweep(name)
    found = [
        paths
        for paths in sweeps_by_age(folder)
        if not (searches and paths.name.endswith(CONFIRMATION_SUFFIX))
    ]
    if not found:
        raise InputError(f"no sweep in {folder.folder}; start one with: make sweep")
    return found[-1]


def submit_and_watch(sweep: Sweep, cluster: str, *, watching: bool = True) -> bool:
    """Send the jobs that are missing and watch them, again and again while they get anywhere.

    Returns:
        Whether that is all; False where somebody ended the watching, or did not want it.
    """
    from sweeps.jobs.start import TopUp  # noqa: PLC0415 (submitit is not light)

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


def watch_until_done(sweep: Sweep) -> None:
    """Watch to the end of the sweep's jobs."""
    from sweeps.monitor.watch import watch  # noqa: PLC0415
    from sweeps.tracking.sync import publishing  # noqa: PLC0415

    elsewhere = sweep.plan.cluster.scheduler != "local"
    with publishing(sweep) if elsewhere else nullcontext():
        watch(sweep, Console())


def print_detached(sweep: Sweep) -> None:
    """What a person is told who closes a watcher."""
    typer.echo("\nthe sweep goes on without this watcher")
    typer.echo(f"  watch it again: {sweep_command('watch', sweep)}")
    typer.echo(f"  end it: {sweep_command('stop', sweep)}")


def resume_command(sweep: Sweep) -> str:
    """The command that goes on with the sweep, to be typed as it stands."""
    return printable(shlex.join([program_name("sweeps"), *sweep.plan.command]))


def sweep_command(name: str, sweep: Sweep) -> str:
    """A command on this sweep, to be typed as it stands."""
    return printable(
        shlex.join([program_name("sweeps"), name, sweep.paths.name, *runs_option(sweep)])
    )


def runs_option(sweep: Sweep) -> list[str]:
    """The option that says where the sweep lies, if it needs one."""
    ours = runs_folder().folder == sweep.paths.runs
    return [] if ours else ["--runs", str(sweep.paths.runs)]


def make_or_sweeps(target: str, sweep: Sweep, *words: str) -> str:
    """`make target` where that does the same as `sweeps words`, which is said elsewhere.

    A target means the latest search among the runs here, and no other.
    """
    runs = sweep.paths.runs
    ours = Path(sys.prefix) == Path.cwd() / ".venv" and runs_folder().folder == runs
    if ours and runs == Path("runs").absolute():
        latest = find_sweep(None, runs, searches=True)
        if latest in {sweep.paths, sweep.paths.confirmation}:
            return f"make {target}"
    return printable(shlex.join([program_name("sweeps"), *words, "--runs", str(runs)]))
