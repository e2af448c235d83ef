"""What findings are made from: the records of all trials of a sweep, and of its confirmation."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from sweeps.config.experiment import Objective
from sweeps.config.space import Scalar, Space, parse_space, short_names
from sweeps.search.pruning import Curve
from sweeps.storage.paths import TrialPaths
from sweeps.storage.sweep import Sweep, open_sweep
from sweeps.storage.sweep_totals import rank_trials
from sweeps.storage.trial_record import State, TrialSnapshot, read_snapshot
from sweeps.text import number


@dataclass(frozen=True)
class CompleteTrial:
    """A trial that was trained to its last epoch, with its value at its best epoch."""

    paths: TrialPaths
    values: Mapping[str, Scalar]
    value: float
    curve: Curve


@dataclass(frozen=True)
class SweepTrials:
    """The trials of a sweep.

    Attributes:
        snapshots: the records of each trial.
        space: what is searched.
        objective: what is optimized.
        seeds: the results of the confirmation's trials; None if there is no confirmation.
    """

    snapshots: Sequence[TrialSnapshot]
    space: Space
    objective: Objective
    seeds: "SeedResults | None" = None

    @cached_property
    def complete(self) -> list[CompleteTrial]:
        """The complete trials, the best first; of equal ones the earlier first."""
        by_name = {each.paths.name: each for each in self.snapshots}
        ranked = rank_trials(self.snapshots, self.objective)
        return [
            CompleteTrial(
                paths, by_name[paths.name].spec.values, value, self.curve(by_name[paths.name])
            )
            for paths, value in ranked
        ]

    def in_state(self, state: State) -> list[TrialSnapshot]:
        """Return the trials that ended in this state."""
        return [each for each in self.snapshots if each.result and each.result.state is state]

    def curve(self, snapshot: TrialSnapshot) -> Curve:
        """Return the objective of a trial by epoch."""
        metric = self.objective.metric
        return {row.epoch: row.metrics[metric] for row in snapshot.rows if metric in row.metrics}

    def short(self, path: str) -> str:
        """Return the short name of a searched path."""
        return short_names(self.space.paths).get(path, path)

    def setting(self, path: str, value: Scalar) -> str:
        """Return a value with its short name: `batch_size 8`."""
        return f"{self.short(path)} {number(value)}"


@dataclass(frozen=True)
class SeedResults:
    """The results of a confirmation: trials of a sweep, trained again with other seeds.

    Attributes:
        seed: the path of the seed, in which trials of the same configuration differ.
        snapshots: the records of its trials.
    """

    seed: str
    snapshots: Sequence[TrialSnapshot]

    def of(self, values: Mapping[str, Scalar]) -> list[TrialSnapshot]:
        """Return the ended trials that have these values, whatever their seed is."""
        wanted = self._without_seed(values)
        return [
            each
            for each in self.snapshots
            if each.result is not None and self._without_seed(each.spec.values) == wanted
        ]

    def _without_seed(self, values: Mapping[str, Scalar]) -> dict[str, Scalar]:
        return {path: value for path, value in values.items() if path != self.seed}


def trials_of(sweep: Sweep, snapshots: Sequence[TrialSnapshot]) -> SweepTrials:
    """Return the trials of a sweep, with those of its confirmation; the trainer is not imported."""
    experiment = sweep.experiment
    return SweepTrials(
        snapshots,
        parse_space(experiment.space, str(sweep.paths.experiment)),
        experiment.objective,
        _seed_results(sweep),
    )


def _seed_results(sweep: Sweep) -> SeedResults | None:
    paths = sweep.paths.confirmation
    if sweep.plan.confirms is not None or not paths.plan.exists():
        return None
    seed = confirmed_seed(open_sweep(paths), sweep)
    if seed is None:
        return None
    return SeedResults(seed, [read_snapshot(trial) for trial in paths.trials()])


def confirmed_seed(confirmation: Sweep, search: Sweep) -> str | None:
    """Return the path of the seed: what a confirmation searches and its sweep does not.

    The trainer knows it, too, but loading the trainer takes seconds. None if it is not found.
    """
    space = confirmation.experiment.space
    # A confirmation searches the seed, over a range of its own.
    seeds = [path for path in space if space[path] != search.experiment.space.get(path)]
    return seeds[0] if len(seeds) == 1 else None
