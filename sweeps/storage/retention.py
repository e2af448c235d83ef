"""Which checkpoints of a trial are kept: those that may still be needed, and no others.

While a trial is open, the next attempt continues from the checkpoints of the latest one. Once it is
settled, no attempt follows, and only a complete trial can be promoted: its best epoch is kept. The
other trials keep their curve, figure and traceback; trained again, they would be equal.
"""

import contextlib
import shutil
from pathlib import Path

from sweeps.storage.paths import AttemptPaths, TrialPaths
from sweeps.storage.trial_record import State, best_checkpoint, state_of


def remove_earlier_checkpoints(trial: TrialPaths, attempt: AttemptPaths) -> None:
    """Remove the checkpoints of all attempts before `attempt`, which has finished an epoch.

    Do not call it earlier: until then, the attempt's only checkpoint is the one it continues from,
    and if that is damaged, the attempt before has the one to fall back on.
    """
    for number in range(1, attempt.number):
        shutil.rmtree(trial.attempt(number).checkpoints, ignore_errors=True)


def unneeded_checkpoints(trial: TrialPaths) -> list[Path]:
    """Return the checkpoint files of a settled trial that are not needed; none of an open trial."""
    if not trial.settled.exists():
        return []
    kept = best_checkpoint(trial) if state_of(trial) is State.COMPLETE else None
    stored = (file for a in trial.attempts() for file in sorted(a.checkpoints.glob("*")))
    return [file for file in stored if file != kept and not file.is_dir()]


def trim_checkpoints(trial: TrialPaths) -> None:
    """Remove the checkpoint files of a settled trial that are not needed."""
    for file in unneeded_checkpoints(trial):
        with contextlib.suppress(OSError):  # a file that stays uses space; `sweeps clean` shows it
            file.unlink(missing_ok=True)


def needs_trimming(trial: TrialPaths) -> bool:
    """Return whether a worker was killed after it settled the trial and before it trimmed it."""
    return trial.settled.exists() and trial.attempts()[-1].last_checkpoint.exists()
