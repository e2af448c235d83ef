"""Workers that a signal ended: for want of the machine's memory, by a fault in a library, by hand.

A signal does not say which. A trial whose workers end so again and again, none of them with an
epoch to show for it, is taken for the cause; else it would have every worker of the sweep.
"""

import contextlib
import signal

from sweeps.storage.paths import AttemptPaths
from sweeps.storage.sweep import Sweep
from sweeps.storage.trial_record import has_epoch
from sweeps.workers.claims import claim_owner
from sweeps.workers.exit_codes import WorkerDeath
from sweeps.workers.retry import Failure, FailureKind, record_failure


def record_death(sweep: Sweep, death: WorkerDeath) -> bool:
    """Note on the trial that a worker had that it died; whether it had one, with no epoch to show.

    Where the folder cannot be read or written (a full disk) the death is not noted.
    """
    with contextlib.suppress(OSError):
        for trial in sweep.paths.trials():
            for attempt in [] if trial.settled.exists() else trial.attempts():
                if claim_owner(attempt) == death.process and not attempt.released.exists():
                    return _record_death(attempt, death.signal)
    return False


def _record_death(attempt: AttemptPaths, number: int) -> bool:
    if has_epoch(attempt) or attempt.failure.exists():  # it had something to say itself
        return False
    cause = f"signal {number} ({signal.strsignal(number)})"
    message = f"{cause} before an epoch was finished; the system's memory, or a library's fault?"
    record_failure(attempt, Failure(FailureKind.WORKER_DIED, message, key=f"died: {cause}"))
    return True
