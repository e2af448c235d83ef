"""SLURM's commands, asked with patience: a controller that is away is waited for."""

import re
import subprocess
import sys
import time

from sweeps.errors import EnvironmentFailure

COMMAND_SECONDS = 60
"""After so long a command that says nothing is taken for one that will not."""
RETRY_SECONDS = 600.0
"""How long a SLURM that is away is waited for: restarts and upgrades take minutes."""
PAUSE_SECONDS = 31.0
"""Between two tries: a controller that is away is not asked more often than one that is there."""

_UNAVAILABLE = re.compile(
    r"contact slurm controller|timed out|connection refused|connect failure|zero bytes"
    r"|temporarily unable|slurm_persist_conn|backup controller|unable to establish",
    re.IGNORECASE,
)


class SlurmUnavailableError(EnvironmentFailure):
    """SLURM does not answer: nothing is known of what was asked."""


def run_command(*command: str, patience: float = 0.0) -> str:
    """What one of SLURM's commands answers.

    Args:
        command: the command and its arguments.
        patience: seconds to go on asking while SLURM does not answer.

    Raises:
        SlurmSilentError: there was no answer.
        WorldError: the answer was no.
    """
    give_up = time.monotonic() + patience
    while True:
        try:
            return _run_once(command)
        except SlurmUnavailableError as error:
            if time.monotonic() >= give_up:
                raise
            print(f"{error}; waiting for it", file=sys.stderr, flush=True)
            time.sleep(min(PAUSE_SECONDS, patience))


def is_unavailable(complaint: str) -> bool:
    """Whether a command's complaint means that nobody answered it."""
    return _UNAVAILABLE.search(complaint) is not None


def dry_run(text: str) -> str:
    """What `sbatch --test-only` says of a submission file: when such a job would start.

    Raises:
        SlurmSilentError: nothing.
        WorldError: it would refuse the job.
    """
    return _run(("sbatch", "--test-only"), text).stderr


def _run_once(command: tuple[str, ...]) -> str:
    return _run(command).stdout


def _run(command: tuple[str, ...], text: str = "") -> subprocess.CompletedProcess[str]:
    try:
        ended = subprocess.run(
            command,
            input=text,
            capture_output=True,
            text=True,
            timeout=COMMAND_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise SlurmUnavailableError(f"{command[0]} does not answer") from error
    except OSError as error:
        raise EnvironmentFailure(f"{command[0]}: {error.strerror}") from error
    if ended.returncode == 0:
        return ended
    complaint = " ".join((ended.stderr or ended.stdout).split())
    kind = SlurmUnavailableError if is_unavailable(complaint) else EnvironmentFailure
    raise kind(f"{command[0]}: {complaint}")
