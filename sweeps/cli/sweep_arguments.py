"""Which sweep a command means, and the commands to type next, so that they can be pasted."""

import os
import shlex
import shutil
import sys
from pathlib import Path
from typing import Annotated

import typer

from sweeps.config.names import CONFIRMATION_SUFFIX, NAME_RULE, is_sweep_name
from sweeps.errors import InputError
from sweeps.storage.paths import RunsPaths, SweepPaths
from sweeps.storage.sweep import Sweep, open_sweep, runs_folder
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
            raise InputError(f"no sweep {name!r}: a name is {NAME_RULE}")
        return folder.sweep(name)
    found = [
        paths
        for paths in sweeps_by_age(folder)
        if not (searches and paths.name.endswith(CONFIRMATION_SUFFIX))
    ]
    if not found:
        raise InputError(f"no sweep in {folder.folder}; start one with: make sweep")
    return found[-1]


def find_sweeps(name: str | None, runs: Path | None) -> list[Sweep]:
    """The sweep of that name, or all of them, the latest last.

    Raises:
        InputError: there is none.
    """
    if name is not None:
        return [open_sweep(find_sweep(name, runs))]
    find_sweep(None, runs)  # refused where there is none
    return [open_sweep(paths) for paths in sweeps_by_age(runs_folder(runs))]


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
    ours = runs_folder().folder == sweep.paths.runs.folder
    return [] if ours else ["--runs", str(sweep.paths.runs.folder)]


def make_or_sweeps(target: str, sweep: Sweep, *words: str) -> str:
    """`make target` where that does the same as `sweeps words`, which is said elsewhere.

    A target means the latest search among the runs here, and no other.
    """
    runs = sweep.paths.runs.folder
    ours = Path(sys.prefix) == Path.cwd() / ".venv" and runs_folder().folder == runs
    if ours and runs == Path("runs").absolute():
        latest = find_sweep(None, runs, searches=True)
        if latest in {sweep.paths, sweep.paths.confirmation}:
            return f"make {target}"
    return printable(shlex.join([program_name("sweeps"), *words, "--runs", str(runs)]))


def program_name(name: str) -> str:
    """`name` where it is on the PATH, else its place beside the running interpreter."""
    beside = Path(sys.executable).parent / name
    on_path = shutil.which(name)
    if on_path is not None and Path(on_path).samefile(beside if beside.exists() else on_path):
        return name
    if beside.exists():
        return os.path.relpath(beside) if beside.is_relative_to(Path.cwd()) else str(beside)
    return f"{Path(sys.executable).name} -m {name}"
