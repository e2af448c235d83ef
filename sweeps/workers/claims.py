"""Claims: a worker's right to run a trial, and how others find out that its owner has gone.

A claim is an attempt: a numbered folder that one worker created exclusively. The highest number has
the claim. An owner that lost its claim while it was stopped or disconnected may go on writing. It
writes into its own folder. Epochs that it writes after losing the claim do not count.
"""

import contextlib
import itertools
import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from sweeps.filesystem import atomic
from sweeps.filesystem.periodic import run_periodically
from sweeps.filesystem.process import hostname, this_process
from sweeps.storage.paths import AttemptPaths, TrialPaths
from sweeps.storage.trial_record import claim_owner, is_abandoned

HEARTBEATS_PER_CLAIM = 6
"""Heartbeats in the time after which a silent owner loses its claim."""
MAX_MISSED_HEARTBEATS = 3
"""Missed heartbeats after which an owner no longer counts as alive."""


class ClaimLostError(Exception):
    """Another worker has the trial; what this worker does with it no longer counts."""


@dataclass(frozen=True)
class Claim:
    """One worker's right to one trial."""

    trial: TrialPaths
    attempt: AttemptPaths

    def is_held(self) -> bool:
        """Return whether no other worker has claimed the trial since, and nobody removed it."""
        taken = self.trial.attempt(self.attempt.number + 1).claim.exists()
        return self.attempt.claim.exists() and not taken

    def check(self) -> None:
        """Raise ClaimLostError unless the claim is held."""
        if not self.is_held():
            raise ClaimLostError(
                f"trial {self.trial.name}: claim lost: taken by another worker, or removed"
            )

    def release(self) -> None:
        """Release the unfinished trial: any worker may claim it at once."""
        self.attempt.released.touch()


def claim_text(job: str) -> str:
    """Return the content of a claim: the process that makes it, and its job."""
    origin = {
        "host": hostname(),
        "job": job,
        "slurm_job": os.environ.get("SLURM_JOB_ID", ""),
        "time": time.time(),
    }
    return json.dumps(this_process().to_json() | origin, indent=2)


def claim_after(trial: TrialPaths, after: int, job: str) -> Claim | None:
    """Claim a trial whose last attempt is number `after`; None if another worker was first."""
    attempt = trial.attempt(after + 1)
    attempt.folder.mkdir(parents=True, exist_ok=True)
    if not atomic.create(attempt.claim, claim_text(job)):
        return None
    return Claim(trial, attempt)


@contextmanager
def heartbeat(claim: Claim, interval_seconds: float) -> Iterator[None]:
    """Write a heartbeat from a thread every `interval_seconds` while the block runs."""
    counter = itertools.count(1)

    def beat() -> None:
        # On a full disk, the next heartbeat may succeed; a claim allows for some missed ones.
        with contextlib.suppress(OSError):
            claim.attempt.heartbeat.write_text(f"{os.getpid()} {next(counter)}", encoding="utf-8")

    with run_periodically(beat, interval_seconds):
        yield


class ClaimMonitor:
    """Watches the heartbeats of other workers, by the clock of this process."""

    def __init__(self, claim_seconds: float) -> None:
        """Watch for owners without a heartbeat for `claim_seconds`."""
        self._claim_seconds = claim_seconds
        self._seen: dict[str, tuple[str, float]] = {}
        self._changed: dict[str, float] = {}

    def is_orphan(self, attempt: AttemptPaths) -> bool:
        """Return whether the owner released the trial, has ended, or has been silent too long."""
        return is_abandoned(attempt) or self._silence(attempt) > self._claim_seconds

    def is_alive(self, attempt: AttemptPaths) -> bool:
        """Return whether the owner is alive; False may also mean: not watched for long enough."""
        self._silence(attempt)
        changed = self._changed.get(str(attempt.folder), float("-inf"))
        recent = (
            time.monotonic() - changed
            < MAX_MISSED_HEARTBEATS * self._claim_seconds / HEARTBEATS_PER_CLAIM
        )
        owner = claim_owner(attempt)
        return recent or (owner.is_here() and not owner.is_stopped())

    def _silence(self, attempt: AttemptPaths) -> float:
        """Return the seconds since the last change of the heartbeat that this process saw."""
        key, now = str(attempt.folder), time.monotonic()
        try:
            beat = attempt.heartbeat.read_text(encoding="utf-8")
        except FileNotFoundError:
            beat = ""
        if key in self._seen and self._seen[key][0] != beat:
            self._changed[key] = now
        if key not in self._seen or self._seen[key][0] != beat:
            self._seen[key] = (beat, now)
        return now - self._seen[key][1]
