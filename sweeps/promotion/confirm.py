"""The confirmation: the best trials of a search, trained again with new seeds.

The best of a hundred noisy results is partly luck, and more so the more trials there were. The
confirmation is a second sweep beside the search, with the same trainer, cluster and workers. Its
trials have seeds that the search has not used, so they do not share the luck of the selection.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from sweeps.config.cluster import Cluster
from sweeps.config.experiment import Experiment, Pruner, Sampler
from sweeps.config.resolve import resolve
from sweeps.config.toml import flatten
from sweeps.errors import EnvironmentFailure, InputError
from sweeps.jobs.start import start_or_update
from sweeps.storage.paths import SweepPaths, TrialPaths
from sweeps.storage.sweep import Plan, Sweep, open_sweep
from sweeps.storage.sweep_totals import rank_trials
from sweeps.storage.trial_lookup import BEST
from sweeps.storage.trial_record import State, best_checkpoint, read_snapshot, read_spec, state_of
from sweeps.text import did_you_mean

LARGEST_SEED = 2**31 - 1


def best_trials(sweep: Sweep, only: str | None = None) -> list[TrialPaths]:
    """Return the trials to confirm: the best ones, or only the one named `only` (may be `best`).

    Raises:
        InputError: the sweep is not over or has no complete trial, or `only` is not a complete
            trial.
    """
    complete = {
        paths.name: paths
        for paths, _ in rank_trials(
            map(read_snapshot, sweep.paths.trials()), sweep.experiment.objective
        )
    }
    if only == BEST and complete:
        return [next(iter(complete.values()))]
    if only is not None:
        if only not in complete:
            near = did_you_mean(only, complete)
            raise InputError(f"sweep {sweep.paths.name} has no complete trial {only!r}{near}")
        return [complete[only]]
    if not sweep.is_over():
        progress = sweep.progress()
        advice = "resume it (make sweep), or name a complete trial with --trial"
        raise InputError(
            f"sweep {sweep.paths.name} is not over: {progress.ended} of {progress.planned} trials "
            f"have ended; {advice}"
        )
    if not complete:
        raise InputError(f"sweep {sweep.paths.name} has no complete trial, so none can be promoted")
    return list(complete.values())[: sweep.experiment.promotion.candidates]


def confirmation_seeds(sweep: Sweep, trial: TrialPaths) -> list[int]:
    """Return the seeds with which a trial is trained again: those that follow its own."""
    own = _own_seed(sweep, trial)
    return [(own + step) % LARGEST_SEED for step in range(1, sweep.experiment.promotion.seeds + 1)]


def confirm(
    sweep: Sweep, trials: Iterable[TrialPaths], cluster: Cluster, command: tuple[str, ...]
) -> Sweep:
    """Create the confirmation of these trials, or add them to the existing one.

    Args:
        sweep: the search.
        trials: the trials to confirm.
        cluster: where to train.
        command: the arguments of `sweeps` that resume the promotion.

    Raises:
        InputError: the data differ from those of the search, or no sweep can be started here.
    """
    paths = sweep.paths.confirmation
    experiment = _experiment(sweep, paths, trials)
    resolved = resolve(experiment, str(sweep.paths.experiment))
    fingerprint = resolved.prepare_data()
    if fingerprint != sweep.plan.fingerprint:
        raise InputError(
            f"the data have changed since sweep {sweep.paths.name} was started (slices were added, "
            "removed or modified); restore them, or search the new data under another name"
        )
    plan = Plan(resolved.experiment, cluster, fingerprint, command, confirms=sweep.paths.name)
    return start_or_update(paths, resolved, sweep.paths.experiment, plan, f"of {sweep.paths.name}")


def confirmation_trials(
    sweep: Sweep, confirmation: SweepPaths, trial: TrialPaths
) -> list[TrialPaths]:
    """Return the trials of the confirmation that train `trial` again, in the order of their seeds.

    Raises:
        EnvironmentFailure: one of them is missing, failed or has not ended.
    """
    by_signature = {paths.signature: paths for paths in confirmation.trials()}
    confirmations = []
    for values in confirmation_values(sweep, trial):
        paths = by_signature.get(sweep.resolved.signature_of(values))
        if paths is None or state_of(paths) not in {State.COMPLETE, State.DIVERGED}:
            state = "missing" if paths is None else state_of(paths).value
            raise EnvironmentFailure(
                f"trial {trial.name} was to be trained again with seed "
                f"{values[sweep.resolved.trainer.seed]}, but that training is {state}; "
                "run the same command again to retry it"
            )
        confirmations.append(paths)
    return confirmations


def _experiment(sweep: Sweep, paths: SweepPaths, trials: Iterable[TrialPaths]) -> Experiment:
    """Return the search's experiment with only its best trials and their new seeds to try."""
    existing = open_sweep(paths).experiment.enqueue if paths.plan.exists() else []
    requested = [values for trial in trials for values in confirmation_values(sweep, trial)]
    enqueue = existing + [values for values in requested if values not in existing]
    seed = {sweep.resolved.trainer.seed: {"low": 0, "high": LARGEST_SEED}}
    return sweep.experiment.model_copy(
        update={
            "name": paths.name,
            "trials": len(enqueue),
            "sampler": Sampler(kind="enqueued"),
            "pruner": Pruner(kind="none"),
            "space": sweep.experiment.space | seed,
            "enqueue": enqueue,
        }
    )


def confirmation_values(sweep: Sweep, trial: TrialPaths) -> list[dict[str, Any]]:
    """Return the values with which a trial is trained again: its own, with each new seed."""
    values = dict(read_spec(trial).values)
    return [
        values | {sweep.resolved.trainer.seed: seed} for seed in confirmation_seeds(sweep, trial)
    ]


def _own_seed(sweep: Sweep, trial: TrialPaths) -> int:
    return int(flatten(read_spec(trial).config)[sweep.resolved.trainer.seed])


def best_checkpoint_of(trial: TrialPaths) -> Path:
    """Return the file with the checkpoint of a trial's best epoch.

    Raises:
        InputError: it was removed, or the trial did not complete and none was kept.
    """
    best = best_checkpoint(trial)
    if best is None:
        raise InputError(
            f"{trial.folder} has no checkpoint any more; choose another trial with --trial"
        )
    return best
