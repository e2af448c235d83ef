"""Claims: a worker's right to run a trial, and how others find out that its owner is gone.

A claim is an attempt: a numbered folder that one worker made exclusively. The highest number has
the trial. An owner that was given up (frozen, cut off) may come back and write; it writes into
its own folder, which nobody reads past the epoch that its successor carried on from.
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
from sweeps.storage.trial_record import claim_owner, was_given_up

HEARTBEATS_PER_CLAIM = 6
"""How often a heart beats in the time that a claim outlives its owner's silence."""
MAX_MISSED_HEARTBEATS = 3
"""After so many beats that were missed an owner no longer passes for alive."""


class ClaimLostError(Exception):
    """Another worker took the trial; nothing that happens to it here counts any more."""


@dataclass(frozen=True)
class Claim:
    """One worker's right to one trial."""

    trial: TrialPaths
    attempt: AttemptPaths

    def is_held(self) -> bool:
        """Whether nobody took the trial since, or removed it."""
        taken = self.trial.attempt(self.attempt.number + 1).claim.exists()
        return self.attempt.claim.exists() and not taken

    def check(self) -> None:
        """Raise ClaimLostError unless the claim is held."""
        if not self.is_held():
            raise ClaimLostError(f"trial {self.trial.name}: taken by another worker, or removed")

    def release(self) -> None:
        """Give the trial back, unfinished: whoever looks next may take it at once."""
        self.attempt.released.touch()


def claim_text(job: str) -> str:
    """What a claim says of the process that makes it, and of its job."""
    place = {
        "host": hostname(),
        "job": job,
        "slurm_job": os.environ.get("SLURM_JOB_ID", ""),
        "time": time.time(),
    }
    return json.dumps(this_process().to_json() | place, indent=2)


def claim_after(trial: TrialPaths, after: int, job: str) -> Claim | None:
    """Claim a trial whose last attempt is number `after`; None where somebody was quicker."""
    attempt = trial.attempt(after + 1)
    attempt.folder.mkdir(parents=True, exist_ok=True)
    if not atomic.create(attempt.claim, claim_text(job)):
        return None
    return Claim(trial, attempt)


@contextmanager
def heartbeat(claim: Claim, interval_seconds: float) -> Iterator[None]:
    """Show from a thread that the owner lives, every so many seconds, while the block runs."""
    counting = itertools.count(1)

    def beat() -> None:
        # A full disk: the next beat may get through, and the claim outlives some.
        with contextlib.suppress(OSError):
            claim.attempt.heartbeat.write_text(f"{os.getpid()} {next(counting)}")

    with run_periodically(beat, interval_seconds):
        yield


class ClaimMonitor:
    """What one process has seen of the other workers' heartbeats, by its own clock."""

    def __init__(self, claim_seconds: float) -> None:
        """Watch for owners that are silent for `claim_seconds`."""
        self._claim_seconds = claim_seconds
        self._seen: dict[str, tuple[str, float]] = {}
        self._changed: dict[str, float] = {}

    def is_orphan(self, attempt: AttemptPaths) -> bool:
        """Whether the attempt's owner gave the trial back, is gone, or fell silent."""
        return was_given_up(attempt) or self._silence(attempt) > self._claim_seconds

    def is_alive(self, attempt: AttemptPaths) -> bool:
        """Whether the owner was seen to live; False may also mean: not watched for long enough."""
        self._silence(attempt)
        changed = self._changed.get(str(attempt.folder), float("-inf"))
        recent = (
            time.monotonic() - changed
            < MAX_MISSED_HEARTBEATS * self._claim_seconds / HEARTBEATS_PER_CLAIM
        )
        owner = claim_owner(attempt)
        return recent or (owner.is_here() and not owner.is_stopped())

    def _silence(self, attempt: AttemptPaths) -> float:
        """Seconds since the heartbeat was seen to change."""
        key, now = str(attempt.folder), time.monotonic()
        try:
            beat = attempt.heartbeat.read_text()
        except FileNotFoundError:
            beat = ""
        if key in self._seen and self._seen[key][0] != beat:
            self._changed[key] = now
        if key not in self._seen or self._seen[key][0] != beat:
            self._seen[key] = (beat, now)
        return now - self._seen[key][1]
