"""A trial's model for other programs: the checkpoint that `--model` of `vqvae` means.

`vqvae` finds `find_checkpoint` as an entry point (`pyproject.toml`) and knows nothing of sweeps.
"""

import re
from pathlib import Path

from sweeps.config.names import is_sweep_name
from sweeps.errors import InputError
from sweeps.storage.paths import SweepPaths, TrialPaths
from sweeps.storage.sweep import open_sweep, runs_folder
from sweeps.storage.trial_lookup import BEST, best_trial, find_trial
from sweeps.storage.trial_record import best_checkpoint, state_of

_SWEEP_AND_TRIAL = re.compile(r"(?P<sweep>[A-Za-z0-9_-]+):(?P<trial>[A-Za-z0-9-]+)")


def find_checkpoint(source: str) -> Path | None:
    """Return the checkpoint of a trial's best epoch; None if `source` does not name a trial.

    Args:
        source: a trial's folder, or `<sweep>:<number, name or best>`; the sweep is in
            `$SWEEPS_RUNS`, or in `runs` here.

    Raises:
        InputError: there is no such sweep or trial, or the trial keeps no checkpoint.
    """
    trial = _find_trial(source)
    if trial is None:
        return None
    checkpoint = best_checkpoint(trial)
    if checkpoint is None:
        advice = f"only complete trials and running ones keep one{_best_instead(trial)}"
        raise InputError(
            f"{source}: trial {trial.name} ({state_of(trial)}) has no checkpoint; {advice}"
        )
    return checkpoint


def _find_trial(source: str) -> TrialPaths | None:
    folder = TrialPaths(Path(source).absolute())
    if folder.config.is_file() and folder.attempt(1).claim.is_file():
        return folder
    match = _SWEEP_AND_TRIAL.fullmatch(source)
    if match is None or not is_sweep_name(match["sweep"]):
        return None
    return find_trial(open_sweep(runs_folder().sweep(match["sweep"])), match["trial"])


def _best_instead(trial: TrialPaths) -> str:
    """Return the end of a message: the best trial of the same sweep, if it keeps a checkpoint."""
    sweep = SweepPaths(trial.folder.parents[1])
    if not sweep.plan.exists():  # a trial's folder that was copied
        return ""
    best = best_trial(open_sweep(sweep))
    if best is None or best == trial or best_checkpoint(best) is None:
        return ""
    return f"; take the best one, {best.name}: {sweep.name}:{BEST}"
