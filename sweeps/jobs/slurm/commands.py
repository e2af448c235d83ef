"""Runs SLURM's commands, and tries again while SLURM cannot answer."""

import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass

from sweeps.errors import EnvironmentFailure
from sweeps.jobs.slurm.error_messages import is_final, is_unavailable
from sweeps.jobs.slurm.queries import query_environment

COMMAND_SECONDS = 60
"""The time limit of one command."""
PAUSE_SECONDS = 31.0
"""The pause between two tries. It keeps an unavailable controller within the usual rate limit."""


class SlurmUnavailableError(EnvironmentFailure):
    """SLURM did not answer, so it is not known whether the command took effect."""


class UnclearSlurmError(SlurmUnavailableError):
    """The command failed with an error that is not known to be final."""


@dataclass(frozen=True)
class Patience:
    """For how many seconds a command is tried again.

    Attributes:
        unavailable: while SLURM does not answer; a restart or an upgrade takes minutes.
        unclear: while the command fails with an error that is not known to be final.
    """

    unavailable: float
    unclear: float

    def seconds(self, error: SlurmUnavailableError) -> float:
        """Return for how many seconds a command with this error is tried again."""
        return self.unclear if isinstance(error, UnclearSlurmError) else self.unavailable


IMPATIENT = Patience(0.0, 0.0)
"""One try only."""
PERSON = Patience(600.0, 60.0)
"""For commands that a person waits for."""


def run_command(*command: str, patience: Patience = IMPATIENT) -> str:
    """Run one of SLURM's commands, and return what it printed.

    Args:
        command: the command and its arguments.
        patience: for how long to try again while SLURM cannot answer.

    Raises:
        SlurmUnavailableError: SLURM did not answer, or failed for a reason that is not known.
        EnvironmentFailure: SLURM refused, or the command could not be run.
    """
    began = time.monotonic()
    printed = ""
    while True:
        try:
            return _run(command).stdout
        except SlurmUnavailableError as error:
            limit = patience.seconds(error)
            if time.monotonic() - began >= limit:
                raise
            if str(error) != printed:  # a job may wait for days
                printed = str(error)
                print(f"{error}; trying again", file=sys.stderr, flush=True)
            time.sleep(min(PAUSE_SECONDS, limit))


def dry_run(text: str, environment: Mapping[str, str]) -> str:
    """Return what `sbatch --test-only` prints for a submission file: when the job would start.

    Args:
        text: the submission file.
        environment: the variables with which sbatch is run.

    Raises:
        SlurmUnavailableError: SLURM did not answer.
        EnvironmentFailure: SLURM would refuse the job.
    """
    return _run(("sbatch", "--test-only"), text, environment).stderr


def error_of(message: str) -> EnvironmentFailure:
    """Return the error for the message of a command that failed."""
    if is_unavailable(message):
        return SlurmUnavailableError(message)
    return EnvironmentFailure(message) if is_final(message) else UnclearSlurmError(message)


def _run(
    command: tuple[str, ...], text: str = "", environment: Mapping[str, str] | None = None
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
            env=query_environment() if environment is None else dict(environment),
        )
    except subprocess.TimeoutExpired as error:
        message = f"{command[0]} did not answer within {COMMAND_SECONDS} s"
        raise SlurmUnavailableError(message) from error
    except OSError as error:
        raise EnvironmentFailure(f"{command[0]}: {error.strerror}") from error
    if ended.returncode == 0:
        return ended
    raise error_of(f"{command[0]}: {_own_words(command[0], ended.stderr or ended.stdout)}")


def _own_words(command: str, text: str) -> str:
    """Return what SLURM's command says itself, in one line; a wrapper may print a banner around it.

    All of the text, if no line begins as SLURM's do.
    """
    lines = text.split("\n")
    own = [line for line in lines if line.startswith((f"{command}:", "slurm", "Slurm"))]
    return " ".join(" ".join(own or lines).split())
