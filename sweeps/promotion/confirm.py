"""Confirming: the best trials trained again from other seeds.

The best of a hundred noisy results is partly luck, and the more were tried the more so. The
confirmation is a sweep beside the first one: same trainer, same cluster, same workers. Its trials
have seeds that the search has not seen, so that the luck by which they were chosen is not in them.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from sweeps.config.cluster import Cluster
from sweeps.config.experiment import Experiment, Pruner, Sampler, resolve
from sweeps.config.toml import flatten
from sweeps.errors import EnvironmentFailure, InputError
from sweeps.jobs.start import data_fingerprint, start_or_update
from sweeps.storage.paths import SweepPaths, TrialPaths
from sweeps.storage.results import rank_trials
from sweeps.storage.sweep import Plan, Sweep, open_sweep
from sweeps.storage.trial_record import State, best_checkpoint, read_snapshot, read_spec, state_of
from sweeps.text import did_you_mean

LARGEST_SEED = 2**31 - 1


def best_trials(sweep: Sweep, only: str | None = None) -> list[TrialPaths]:
    """The trials to confirm: the sweep's best few, or the one that is asked for.

    Raises:
        InputError: the sweep is not over, has no complete trial, or not the one asked for.
    """
    complete = {
        paths.name: paths
        for paths, _ in rank_trials(
            map(read_snapshot, sweep.paths.trials()), sweep.experiment.objective
        )
    }
    if only is not None:
        if only not in complete:
            near = did_you_mean(only, complete)
            raise InputError(f"no complete trial {only!r} in sweep {sweep.paths.name}{near}")
        return [complete[only]]
    if not sweep.is_over():
        progress = sweep.progress()
        advice = "let it end first (make sweep), or name a complete trial with --trial"
        raise InputError(
            f"sweep {sweep.paths.name} is not over: {progress.ended} of {progress.planned} trials "
            f"have ended; {advice}"
        )
    if not complete:
        raise InputError(f"sweep {sweep.paths.name} has no complete trial to promote")
    return list(complete.values())[: sweep.experiment.promotion.candidates]


def check_promotable(sweep: Sweep) -> None:
    """Say before any training what would stop a promotion after it.

    Raises:
        InputError: the sweep is a confirmation, searches over the seed, or its objective is not
            measured on the test split.
    """
    trainer, metric = sweep.resolved.trainer, sweep.resolved.experiment.objective.metric
    if sweep.plan.confirms is not None:
        raise InputError(f"{sweep.paths.name} confirms {sweep.plan.confirms}; promote that one")
    if trainer.seed in sweep.experiment.space:
        raise InputError(
            f"sweep {sweep.paths.name} searches over {trainer.seed}: no seed is new to it; "
            "leave the seed out of [space]"
        )
    if metric not in trainer.test_metrics:
        known = ", ".join(trainer.test_metrics)
        raise InputError(f"{metric} is not measured on the test split; these are: {known}")


def confirmation_seeds(sweep: Sweep, trial: TrialPaths) -> list[int]:
    """The seeds that a trial is trained again from: those that follow its own."""
    own = _own_seed(sweep, trial)
    return [(own + step) % LARGEST_SEED for step in range(1, sweep.experiment.promotion.seeds + 1)]


def confirm(
    sweep: Sweep, trials: Iterable[TrialPaths], cluster: Cluster, command: tuple[str, ...]
) -> Sweep:
    """Make the confirmation of these trials, or add them to the one that is there.

    Args:
        sweep: the search.
        trials: of it.
        cluster: where to train.
        command: what goes on with the promotion, as arguments of `sweeps`.

    Raises:
        InputError: the data are not those of the search, or a sweep cannot be started here.
    """
    paths = sweep.paths.confirmation
    experiment = _experiment(sweep, paths, trials)
    resolved = resolve(experiment, str(sweep.paths.experiment))
    fingerprint = data_fingerprint(resolved)
    if fingerprint != sweep.plan.fingerprint:
        raise InputError(
            f"the data are not those of sweep {sweep.paths.name} any more (slices came, went or "
            "changed); bring them back, or search on the new ones under another name"
        )
    plan = Plan(resolved.experiment, cluster, fingerprint, command, confirms=sweep.paths.name)
    return start_or_update(paths, resolved, sweep.paths.experiment, plan, f"of {sweep.paths.name}")


def confirmation_trials(
    sweep: Sweep, confirmation: SweepPaths, trial: TrialPaths
) -> list[TrialPaths]:
    """The trials of the confirmation that train `trial` again, in the order of their seeds.

    Raises:
        WorldError: one of them failed, or has not ended.
    """
    by_signature = {again.signature: again for again in confirmation.trials()}
    found = []
    for values in _enqueued(sweep, trial):
        again = by_signature.get(sweep.resolved.signature_of(values))
        if again is None or state_of(again) not in {State.COMPLETE, State.DIVERGED}:
            state = "missing" if again is None else state_of(again).value
            raise EnvironmentFailure(
                f"confirmation of {trial.name}, seed {values[sweep.resolved.trainer.seed]}: "
                f"{state}; run the same command again to have it tried again"
            )
        found.append(again)
    return found


def _experiment(sweep: Sweep, paths: SweepPaths, trials: Iterable[TrialPaths]) -> Experiment:
    """The search's experiment, with nothing but its best trials and their new seeds to try."""
    there = open_sweep(paths).experiment.enqueue if paths.plan.exists() else []
    wanted = [values for trial in trials for values in _enqueued(sweep, trial)]
    enqueue = there + [values for values in wanted if values not in there]
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


def _enqueued(sweep: Sweep, trial: TrialPaths) -> list[dict[str, Any]]:
    values = dict(read_spec(trial).values)
    return [
        values | {sweep.resolved.trainer.seed: seed} for seed in confirmation_seeds(sweep, trial)
    ]


def _own_seed(sweep: Sweep, trial: TrialPaths) -> int:
    return int(flatten(read_spec(trial).config)[sweep.resolved.trainer.seed])


def best_checkpoint_folder(trial: TrialPaths) -> Path:
    """The folder with the checkpoint of a trial's best epoch.

    Raises:
        InputError: it is gone, or the trial did not end well and none was kept.
    """
    best = best_checkpoint(trial)
    if best is None:
        raise InputError(f"{trial.folder} has no checkpoint any more; confirm another trial")
    return best.parent
