"""Workers that are killed: by the system for want of memory, by a fault in a library, by a person.

A signal does not say which. A trial whose workers are killed again and again, none of them with an
epoch to show for it, is taken for the cause; else it would have every worker of the sweep.
"""

import contextlib
import signal

from sweeps import files
from sweeps.ends import Death
from sweeps.paths import AttemptPaths, JobPaths
from sweeps.record import has_epoch
from sweeps.sweep import Sweep
from sweeps.troubles import Kind, Trouble, note


def note_death(sweep: Sweep, job: JobPaths, death: Death) -> None:
    """Note on the trial that a worker of `job` had, if it had one and finished no epoch of it."""
    for trial in sweep.paths.trials():
        for attempt in [] if trial.settled.exists() else trial.attempts():
            if _is_of(attempt, job, death.pid) and not attempt.released.exists():
                if not has_epoch(attempt):
                    _note(attempt, f"signal {death.number} ({signal.strsignal(death.number)})")
                return


def _is_of(attempt: AttemptPaths, job: JobPaths, pid: int) -> bool:
    claim = files.read_json(attempt.claim)
    return claim is not None and (claim["job"], claim["pid"]) == (job.token, pid)


def _note(attempt: AttemptPaths, cause: str) -> None:
    message = f"{cause} before an epoch was finished; the system's memory, or a library's fault?"
    with contextlib.suppress(OSError):  # a full disk: what cannot be noted does not count
        note(attempt, Trouble(Kind.DIED, message, alike=f"died: {cause}"))
