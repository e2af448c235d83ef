"""The sweep that a command refers to, and the commands that a person can type next."""

import os
import shlex
import shutil
import sys
from pathlib import Path
from typing import Annotated

import typer

from sweeps.cli.completions import sweep_names
from sweeps.config.names import NAME_RULE, is_sweep_name
from sweeps.errors import InputError
from sweeps.storage.paths import SweepPaths, TrialPaths
from sweeps.storage.sweep import (
    Sweep,
    latest_search,
    open_sweep,
    runs_folder,
    sweeps_by_age,
)
from sweeps.storage.trial_lookup import find_trial
from sweeps.text import printable

LATEST = "name of the sweep (default: the latest that you started)"

Name = Annotated[
    str | None,
    typer.Argument(
        help="name of the sweep (default: the latest that you started)", autocompletion=sweep_names
    ),
]
Runs = Annotated[Path | None, typer.Option("--runs", help="folder with all sweeps (default: runs)")]
SweepOption = Annotated[
    str | None,
    typer.Option(
        "--sweep",
        help="name of the sweep (default: the latest that you started)",
        autocompletion=sweep_names,
    ),
]
ExperimentFile = Annotated[
    Path | None,
    typer.Argument(help="TOML file, or its name in experiments/ (default: the cluster's)"),
]
ClusterName = Annotated[
    str | None,
    typer.Option("--cluster", help="name of a file in experiments/clusters/ (default: detected)"),
]
TotalTrials = Annotated[
    int | None, typer.Option(min=1, help="total number of trials (default: the experiment's)")
]


def find_sweep(name: str | None, runs: Path | None) -> SweepPaths:
    """Return the sweep with this name, or the latest one that a person started.

    Args:
        name: the name of the sweep; None for the latest, which is never a confirmation.
        runs: the folder with all sweeps; None for the default.

    Raises:
        InputError: there is no sweep yet, or the name is not a valid one.
    """
    folder = runs_folder(runs)
    if name is not None:
        if not is_sweep_name(name):  # `stop ../elsewhere` would write outside the runs
            raise InputError(f"{name!r} is not a valid sweep name; a name is {NAME_RULE}")
        return folder.sweep(name)
    found = latest_search(folder)
    if found is None:
        raise InputError(f"no sweep in {folder.folder}; start one with: make sweep")
    return found


def find_named_trial(trial: str, sweep: str | None, runs: Path | None) -> tuple[Sweep, TrialPaths]:
    """Return the trial that a person named, and its sweep.

    Args:
        trial: a number, a name, its beginning or `best`, also with the sweep: `quickstart:7`.
        sweep: the name of the sweep; None takes the one in `trial`, or else the latest.
        runs: the folder with all sweeps; None for the default.

    Raises:
        InputError: there is no such sweep or trial.
    """
    named, colon, rest = trial.partition(":")
    if colon and sweep is None:
        sweep, trial = named, rest
    opened = open_sweep(find_sweep(sweep, runs))
    return opened, find_trial(opened, trial)


def find_sweeps(name: str | None, runs: Path | None) -> list[Sweep]:
    """Return the sweep with this name, or all sweeps, the latest last.

    Raises:
        InputError: there is no such sweep, or no sweep at all.
    """
    if name is not None:
        return [open_sweep(find_sweep(name, runs))]
    find_sweep(None, runs)  # raises if there is no sweep
    return [open_sweep(paths) for paths in sweeps_by_age(runs_folder(runs))]


def resume_command(sweep: Sweep) -> str:
    """Return the command that resumes the sweep, ready to be pasted."""
    return printable(shlex.join([*program_words("sweeps"), *sweep.plan.command]))


def sweep_command(name: str, sweep: Sweep, *, confirmation: bool = False) -> str:
    """Return a command on this sweep, or on its confirmation, ready to be pasted."""
    paths = sweep.paths.confirmation if confirmation else sweep.paths
    return printable(shlex.join([*program_words("sweeps"), name, paths.name, *runs_option(sweep)]))


def runs_option(sweep: Sweep) -> list[str]:
    """Return the option `--runs` with the sweep's folder, if it is not the default folder."""
    is_default = runs_folder().folder == sweep.paths.runs.folder
    return [] if is_default else ["--runs", str(sweep.paths.runs.folder)]


def make_or_sweeps(target: str, sweep: Sweep, *words: str) -> str:
    """Return `make target` if it does the same as `sweeps words`; otherwise the latter.

    A make target always means the latest search in the folder `runs` here.
    """
    runs = sweep.paths.runs.folder
    is_default = Path(sys.prefix) == Path.cwd() / ".venv" and runs_folder().folder == runs
    if is_default and runs == Path("runs").absolute():
        latest = latest_search(sweep.paths.runs)
        if latest in {sweep.paths, sweep.paths.confirmation}:
            return f"make {target}"
    return printable(shlex.join([*program_words("sweeps"), *words, "--runs", str(runs)]))


def program_words(name: str) -> list[str]:
    """Return what to type for a program, as words.

    It is `name` if that is on the PATH, otherwise its path beside the running interpreter, and
    where it has none, the module of that name.
    """
    beside = Path(sys.executable).parent / name
    on_path = shutil.which(name)
    if on_path is not None and Path(on_path).samefile(beside if beside.exists() else on_path):
        return [name]
    if beside.exists():
        return [os.path.relpath(beside) if beside.is_relative_to(Path.cwd()) else str(beside)]
    return [Path(sys.executable).name, "-m", name]
