"""The candidate: the model that is proposed as champion.

It is the best training of the configuration that is best over its seeds.
"""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from pydantic import BaseModel

from sweeps.config.experiment import Objective
from sweeps.config.names import CONFIRMATION_SUFFIX
from sweeps.promotion.confirm import confirmation_seeds, confirmation_trials
from sweeps.promotion.scores import PackageScores
from sweeps.storage.paths import TrialPaths
from sweeps.storage.promotion_paths import ScoredPaths
from sweeps.storage.sweep import Sweep
from sweeps.storage.trial_record import read_result

SMALLEST_SHOWN = 0.5e-4
"""A smaller difference is 0.0000 in text, where it has no direction."""


@dataclass(frozen=True)
class CandidateTrial:
    """One of the search's best trials, with its results from other seeds.

    Attributes:
        searched: the trial of the search.
        value: its value in the search, by which it was chosen.
        confirmations: the trials that trained its configuration again.
        values: their values, in the same order.
        seeds: their seeds.
        objective: the metric of the values, and its direction.
    """

    searched: TrialPaths
    value: float
    confirmations: Sequence[TrialPaths]
    values: Sequence[float]
    seeds: Sequence[int]
    objective: Objective

    @cached_property
    def mean(self) -> float:
        """The mean over the new seeds; the luck by which the trial was chosen is not in it."""
        return statistics.fmean(self.values)

    @cached_property
    def spread(self) -> float:
        """The standard deviation over the new seeds."""
        return statistics.stdev(self.values)

    @property
    def selection_bias(self) -> float:
        """How much better its value in the search is than its mean over the new seeds."""
        return self.objective.sign * (self.value - self.mean)

    def describe_selection_bias(self) -> str:
        """Return in words how the mean over the new seeds differs from the search's value.

        Everywhere that a person reads the selection bias, it stands in these words.
        """
        metric, gain = self.objective.metric, self.mean - self.value
        if abs(gain) < SMALLEST_SHOWN:
            return f"with new seeds, {metric} was the same as in the search"
        word = "higher" if gain > 0 else "lower"
        return f"with new seeds, {metric} was {abs(gain):.4f} {word} than in the search"

    @property
    def best_confirmation(self) -> TrialPaths:
        """The trial whose model would be registered: the best confirmation by validation."""
        pairs = zip(self.values, self.confirmations, strict=True)
        return max(pairs, key=lambda pair: self.objective.sign * pair[0])[1]

    @property
    def best_seed(self) -> int:
        """The seed of that trial."""
        return self.seeds[self.confirmations.index(self.best_confirmation)]


@dataclass(frozen=True)
class Candidate:
    """The model that is proposed as champion.

    Attributes:
        ranked: the configurations it was chosen from, the best first.
        config: the configuration of the training that made it.
        paths: its folder.
        scored: its scores on the test split.
        key: identifies the model.
    """

    ranked: Sequence[CandidateTrial]
    config: BaseModel
    paths: ScoredPaths
    scored: PackageScores
    key: str

    @property
    def label(self) -> str:
        """Its name in the record of reads of the test split."""
        return model_label(
            self.chosen.searched.folder.parents[1].name, self.chosen.best_confirmation.name
        )

    @property
    def chosen(self) -> CandidateTrial:
        """The trial whose configuration is best over its seeds."""
        return self.ranked[0]


def model_label(sweep: str, trial: str) -> str:
    """Return the name of the model of a confirmation's trial, in any registry."""
    return f"{sweep}{CONFIRMATION_SUFFIX}/{trial}"


def rank_candidates(sweep: Sweep, trials: Sequence[TrialPaths]) -> list[CandidateTrial]:
    """Return the results of the confirmation of `trials`, the best mean first.

    Raises:
        EnvironmentFailure: the confirmation of a trial is not complete.
    """
    objective = sweep.resolved.experiment.objective
    candidates = [_candidate_trial(sweep, trial, objective) for trial in trials]
    return sorted(candidates, key=lambda candidate: -objective.sign * candidate.mean)


def _candidate_trial(sweep: Sweep, trial: TrialPaths, objective: Objective) -> CandidateTrial:
    confirmations = confirmation_trials(sweep, sweep.paths.confirmation, trial)
    return CandidateTrial(
        searched=trial,
        value=_value(trial),
        confirmations=confirmations,
        values=[_value(paths) for paths in confirmations],
        seeds=confirmation_seeds(sweep, trial),
        objective=objective,
    )


def _value(trial: TrialPaths) -> float:
    result = read_result(trial)
    if result is None or result.value is None:
        raise ValueError(f"{trial.folder} has no value")
    return result.value
