"""How often SLURM is asked: at most twice in any minute, by all of a person's sweeps together.

Every question is written down, with its time by the file server's clock, before it is put. What
brings a job into the queue (sbatch, a job's own way back) is not counted here: one each.
"""

import json
import sys
import time

from sweeps.filesystem import atomic as files
from sweeps.filesystem.lock import Lock
from sweeps.jobs.slurm.commands import COMMAND_SECONDS, ask
from sweeps.storage.paths import SlurmPaths

IN_A_MINUTE = 2
MINUTE = 62.0
"""A little more than one: between the note and the command itself a busy machine may pause."""


def lock(slurm: SlurmPaths) -> Lock:
    """The lock under which it is decided whether SLURM is asked."""
    return Lock(slurm.lock, stale_after=2 * COMMAND_SECONDS)


def now(slurm: SlurmPaths) -> float:
    """The time by the file server's clock."""
    slurm.folder.mkdir(parents=True, exist_ok=True)
    slurm.clock.touch()
    return slurm.clock.stat().st_mtime


def pause_before(slurm: SlurmPaths, *, spare: int = 0) -> float:
    """Seconds until one more question may be put, with `spare` more left; only under the lock."""
    times = _lately(slurm)
    most = IN_A_MINUTE - spare
    return max(0.0, MINUTE - (now(slurm) - times[-most])) if len(times) >= most else 0.0


def note(slurm: SlurmPaths) -> None:
    """Write down that a question is put now; only under the lock."""
    files.write(slurm.asked, json.dumps([*_lately(slurm), now(slurm)]))


def ask_in_turn(slurm: SlurmPaths, *command: str, patience: float = 0.0) -> str:
    """What a command answers, given as soon as the minute allows it.

    Raises:
        WorldError: SLURM does not answer, or its answer was no.
    """
    while not _may_ask(slurm):
        wait(slurm)
    return ask(*command, patience=patience)


def ask_if_free(slurm: SlurmPaths, *command: str) -> str | None:
    """What a command answers; None where the minute's questions have been put.

    Raises:
        WorldError: SLURM does not answer, or its answer was no.
    """
    return ask(*command) if _may_ask(slurm) else None


def wait(slurm: SlurmPaths) -> None:
    """Wait until a question may be put, and tell whoever waits for it."""
    with lock(slurm).hold():
        pause = pause_before(slurm)
    if pause > 0:
        print(f"SLURM was asked twice this minute; again in {pause:.0f} s", file=sys.stderr)
        time.sleep(pause)


def _may_ask(slurm: SlurmPaths) -> bool:
    with lock(slurm).hold():
        if pause_before(slurm) > 0:
            return False
        note(slurm)
        return True


def _lately(slurm: SlurmPaths) -> list[float]:
    """When questions were put in the last minute, the earliest first."""
    times = files.read_json(slurm.asked) or []
    return [then for then in times if abs(now(slurm) - then) < MINUTE]
