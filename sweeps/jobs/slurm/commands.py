"""Runs SLURM's commands, and tries again while the controller is unavailable."""

import re
import subprocess
import sys
import time
from collections.abc import Mapping

from sweeps.errors import EnvironmentFailure
from sweeps.jobs.slurm.queries import environment

COMMAND_SECONDS = 60
"""The time limit of one command."""
RETRY_SECONDS = 600.0
"""How long to wait for an unavailable SLURM: a restart or an upgrade takes minutes."""
PAUSE_SECONDS = 31.0
"""The pause between two tries. It keeps an unavailable controller within the usual rate limit."""

_UNAVAILABLE = re.compile(
    r"contact slurm controller|timed out|connection refused|connect failure|zero bytes"
    r"|temporarily unable|slurm_persist_conn|backup controller|unable to establish",
    re.IGNORECASE,
)


class SlurmUnavailableError(EnvironmentFailure):
    """SLURM did not answer, so it is not known whether the command took effect."""


def run_command(*command: str, patience: float = 0.0) -> str:
    """Run one of SLURM's commands, and return what it printed.

    Args:
        command: the command and its arguments.
        patience: for how many seconds to try again while SLURM does not answer.

    Raises:
        SlurmUnavailableError: SLURM did not answer.
        EnvironmentFailure: SLURM refused, or the command could not be run.
    """
    deadline = time.monotonic() + patience
    while True:
        try:
            return _run_once(command)
        except SlurmUnavailableError as error:
            if time.monotonic() >= deadline:
                raise
            print(f"{error}; trying again", file=sys.stderr, flush=True)
            time.sleep(min(PAUSE_SECONDS, patience))


def is_unavailable(message: str) -> bool:
    """Return whether a command's error message means that SLURM did not answer."""
    return _UNAVAILABLE.search(message) is not None


def dry_run(text: str) -> str:
    """Return what `sbatch --test-only` prints for a submission file: when the job would start.

    Raises:
        SlurmUnavailableError: SLURM did not answer.
        EnvironmentFailure: SLURM would refuse the job.
    """
    return _run(("sbatch", "--test-only"), text).stderr


def _run_once(command: tuple[str, ...]) -> str:
    return _run(command, variables=environment()).stdout


def _run(
    command: tuple[str, ...], text: str = "", variables: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    try:
        ended = subprocess.run(
            command,
            input=text,
            capture_output=True,
            encoding="utf-8",
            errors="backslashreplace",
            timeout=COMMAND_SECONDS,
            check=False,
            env=variables,
        )
    except subprocess.TimeoutExpired as error:
        message = f"{command[0]} did not answer within {COMMAND_SECONDS} s"
        raise SlurmUnavailableError(message) from error
    except OSError as error:
        raise EnvironmentFailure(f"{command[0]}: {error.strerror}") from error
    if ended.returncode == 0:
        return ended
    message = " ".join((ended.stderr or ended.stdout).split())
    error_class = SlurmUnavailableError if is_unavailable(message) else EnvironmentFailure
    raise error_class(f"{command[0]}: {message}")
