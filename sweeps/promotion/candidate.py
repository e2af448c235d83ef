"""The candidate: the configuration that is best over its seeds, and the best of its trainings."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from pydantic import BaseModel

from sweeps.config.experiment import Objective
from sweeps.config.names import CONFIRMATION_SUFFIX
from sweeps.promotion.confirm import confirmation_seeds, confirmation_trials
from sweeps.promotion.entities import ScoredPaths
from sweeps.promotion.scores import PackageScores
from sweeps.storage.paths import TrialPaths
from sweeps.storage.sweep import Sweep
from sweeps.storage.trial_record import read_result


@dataclass(frozen=True)
class CandidateTrial:
    """One of the search's best trials, and what it was worth from other seeds.

    Attributes:
        searched: the trial as the search had it.
        value: its value there, by which it was chosen.
        again: the trials that trained it again.
        values: their values, in the same order.
        seeds: their seeds.
        objective: what the values are.
    """

    searched: TrialPaths
    value: float
    confirmations: Sequence[TrialPaths]
    values: Sequence[float]
    seeds: Sequence[int]
    objective: Objective

    @cached_property
    def mean(self) -> float:
        """Over the new seeds: free of the luck by which the trial was chosen."""
        return statistics.fmean(self.values)

    @cached_property
    def spread(self) -> float:
        """The standard deviation over the new seeds."""
        return statistics.stdev(self.values)

    @property
    def selection_bias(self) -> float:
        """By how much the search made it look better than it is."""
        return self.objective.sign * (self.value - self.mean)

    @property
    def best_confirmation(self) -> TrialPaths:
        """The training whose model would be registered: the best one by validation."""
        pairs = zip(self.values, self.confirmations, strict=True)
        return max(pairs, key=lambda pair: self.objective.sign * pair[0])[1]


@dataclass(frozen=True)
class Candidate:
    """The model that is put up.

    Attributes:
        found: the configurations it was chosen among, its own first.
        config: of the training that made it.
        paths: its folder.
        scored: what it is worth on the test split.
        key: tells it from every other model.
    """

    ranked: Sequence[CandidateTrial]
    config: BaseModel
    paths: ScoredPaths
    scored: PackageScores
    key: str

    @property
    def label(self) -> str:
        """What it is called in the count of reads of the test split."""
        return model_label(
            self.chosen.searched.folder.parents[1].name, self.chosen.best_confirmation.name
        )

    @property
    def chosen(self) -> CandidateTrial:
        """The configuration that is best over its seeds."""
        return self.ranked[0]


def model_label(sweep: str, trial: str) -> str:
    """What the model of a confirmation's trial is called, wherever it is registered."""
    return f"{sweep}{CONFIRMATION_SUFFIX}/{trial}"


def rank_candidates(sweep: Sweep, trials: Sequence[TrialPaths]) -> list[CandidateTrial]:
    """What the confirmation says of `trials`, the best by mean first.

    Raises:
        WorldError: one of them is not confirmed.
    """
    objective = sweep.resolved.experiment.objective
    found = [_candidate_trial(sweep, trial, objective) for trial in trials]
    return sorted(found, key=lambda contender: -objective.sign * contender.mean)


def _candidate_trial(sweep: Sweep, trial: TrialPaths, objective: Objective) -> CandidateTrial:
    again = confirmation_trials(sweep, sweep.paths.confirmation, trial)
    return CandidateTrial(
        searched=trial,
        value=_value(trial),
        confirmations=again,
        values=[_value(paths) for paths in again],
        seeds=confirmation_seeds(sweep, trial),
        objective=objective,
    )


def _value(trial: TrialPaths) -> float:
    result = read_result(trial)
    if result is None or result.value is None:
        raise ValueError(f"{trial.folder} has no value")
    return result.value
