"""What is kept of a trial's checkpoints: what somebody may need, and nothing else.

While a trial is open its latest attempt has what the next one goes on from. Once it is settled
nobody goes on with it, and only a complete one can be promoted: the best epoch of that stays. The
others keep what they are judged by (curve, picture, traceback); trained again they would be equal.
"""

import contextlib
import shutil
from pathlib import Path

from sweeps.storage.paths import AttemptPaths, TrialPaths
from sweeps.storage.trial_record import State, best_checkpoint, state_of


def remove_earlier_checkpoints(trial: TrialPaths, attempt: AttemptPaths) -> None:
    """Remove the checkpoints of all attempts before one that has finished an epoch of its own.

    Until then its only checkpoint is the one it carried on from, and were that damaged the
    attempt before would have the one to fall back on.
    """
    for number in range(1, attempt.number):
        shutil.rmtree(trial.attempt(number).checkpoints, ignore_errors=True)


def unneeded_checkpoints(trial: TrialPaths) -> list[Path]:
    """The files among the checkpoints of a settled trial that nobody needs; none of an open one."""
    if not trial.settled.exists():
        return []
    kept = best_checkpoint(trial) if state_of(trial) is State.COMPLETE else None
    there = (file for a in trial.attempts() for file in sorted(a.checkpoints.glob("*")))
    return [file for file in there if file != kept and not file.is_dir()]


def trim_checkpoints(trial: TrialPaths) -> None:
    """Remove what nobody needs of a settled trial's checkpoints."""
    for file in unneeded_checkpoints(trial):
        with contextlib.suppress(OSError):  # what stays costs room; `sweeps clean` shows it
            file.unlink(missing_ok=True)


def needs_trimming(trial: TrialPaths) -> bool:
    """Whether somebody was killed between settling the trial and trimming it."""
    return trial.settled.exists() and trial.attempts()[-1].last_checkpoint.exists()
