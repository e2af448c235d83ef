"""The checks of `sweeps doctor` that tell a person what to expect at a SLURM site.

They look at SLURM's configuration, at its commands and at the environment, and refuse nothing.
"""

import getpass
import os
import subprocess
from collections.abc import Iterator

from sweeps.cli.doctor_checks import COMMAND_SECONDS, Finding
from sweeps.errors import EnvironmentFailure
from sweeps.jobs.slurm import queries
from sweeps.jobs.slurm.answers import read_configuration, read_limits
from sweeps.jobs.slurm.configuration import describe_configuration, unexpected_lines
from sweeps.jobs.slurm.limits import describe_limits
from sweeps.jobs.slurm.rate_limit import run_if_allowed, run_when_allowed
from sweeps.storage.paths import SlurmPaths
from sweeps.text import count, one_line

_SPEAKING = ("sbatch", "squeue", "scontrol")
"""The commands whose output a sweep reads."""


def site_findings(slurm: SlurmPaths) -> Iterator[Finding]:
    """Yield what is special at this site; SLURM is asked twice at most."""
    if (number := os.environ.get("SLURM_JOB_ID")) is not None:
        message = f"this is inside of job {number}; its SLURM_* variables are not handed to sbatch"
        yield Finding("surrounding job", True, message)
    for command in _SPEAKING:
        yield from _wrapper_finding(command)
    try:
        answer = run_when_allowed(slurm, *queries.CONFIGURATION)
    except EnvironmentFailure as error:
        yield Finding("SLURM's configuration", True, f"not known: {error}")
        return
    for name, message in describe_configuration(read_configuration(answer)):
        yield Finding(name, True, message)
    yield from _limit_finding(slurm)


def _wrapper_finding(command: str) -> Iterator[Finding]:
    try:
        ended = subprocess.run(
            [command, "--version"],
            capture_output=True,
            encoding="utf-8",
            errors="backslashreplace",
            timeout=COMMAND_SECONDS,
            check=False,
        )
    except (OSError, subprocess.SubprocessError):
        return  # the checks that need its answer say so
    lines = unexpected_lines(ended.stdout)
    if lines:
        own = f"{command} prints {count(len(lines), 'line')} of its own ({one_line(lines[0])!r})"
        yield Finding("wrappers", True, f"{own}; the sweep passes over such lines")


def _limit_finding(slurm: SlurmPaths) -> Iterator[Finding]:
    """Yield your limits; nothing at a site without accounting or limits."""
    try:
        answer = run_if_allowed(slurm, *queries.limits(getpass.getuser()))
    except (EnvironmentFailure, KeyError, OSError):
        return
    if answer is None:
        message = "not asked: SLURM is asked at most twice a minute; run this again to see them"
        yield Finding("limits", True, message)
        return
    for line in describe_limits(read_limits(answer)):
        yield Finding("limits", True, line)
