"""Findings about the best trial: which it is, and how far it is ahead."""

import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from sweeps.analysis.finding import Finding, Kind, score
from sweeps.analysis.trials import CompleteTrial, SweepTrials
from sweeps.storage.trial_record import State
from sweeps.text import count


def best_findings(trials: SweepTrials) -> Iterator[Finding]:
    """Yield which trial is the best, and its margin; nothing if no trial is complete."""
    if trials.complete:
        yield _best(trials, trials.complete[0])
        yield _margin(trials)


def _best(trials: SweepTrials, best: CompleteTrial) -> Finding:
    settings = ", ".join(trials.setting(path, value) for path, value in best.values.items())
    text = f"The best trial is {best.paths.name}: {trials.objective.metric} {score(best.value)}"
    return Finding(Kind.BEST, f"{text} with {settings}.", {"value": best.value})


def _margin(trials: SweepTrials) -> Finding:
    seeds = _seed_values(trials, trials.complete[0])
    if len(trials.complete) == 1:
        text = "Only one trial is complete, so there is no second one to compare it with."
        return Finding(Kind.MARGIN, f"{text} {_describe_seeds(seeds)}", _seed_numbers(seeds))
    best, second = trials.complete[:2]
    margin = abs(best.value - second.value)
    name = f"the second best ({second.paths.name})"
    lead = (
        f"The best trial is {score(margin)} better than {name}."
        if margin
        else f"The best trial and {name} have the same value."
    )
    numbers = {"margin": margin, **_seed_numbers(seeds)}
    return Finding(Kind.MARGIN, f"{lead} {_describe_seeds(seeds, margin)}", numbers)


@dataclass(frozen=True)
class _SeedValues:
    """What the best configuration reached with other seeds, and how often it diverged."""

    values: Sequence[float]
    diverged: int

    @property
    def mean(self) -> float:
        return statistics.fmean(self.values)

    @property
    def spread(self) -> float:
        """The standard deviation over seeds."""
        return statistics.stdev(self.values)


def _seed_values(trials: SweepTrials, best: CompleteTrial) -> _SeedValues:
    again = [] if trials.seeds is None else trials.seeds.of(best.values)
    results = [each.result for each in again if each.result is not None]
    complete = [result.value for result in results if result.state is State.COMPLETE]
    diverged = sum(result.state is State.DIVERGED for result in results)
    return _SeedValues([value for value in complete if value is not None], diverged)


def _seed_numbers(seeds: _SeedValues) -> dict[str, float]:
    diverged = {"diverged_seeds": float(seeds.diverged)} if seeds.diverged else {}
    if len(seeds.values) < 2:
        return diverged
    number = len(seeds.values)
    return {"seeds": number, "seed_mean": seeds.mean, "seed_deviation": seeds.spread, **diverged}


def _describe_seeds(seeds: _SeedValues, margin: float | None = None) -> str:
    """Return how much the value depends on the seed, and whether the margin is larger than that."""
    if seeds.diverged:
        ended = count(len(seeds.values) + seeds.diverged, "new random seed")
        return f"With {ended} the best configuration diverged {_times(seeds)}."
    if len(seeds.values) < 2:
        return "How much the value changes with another random seed is not known yet."
    text = (
        f"With {len(seeds.values)} new random seeds the best configuration reaches "
        f"{score(seeds.mean)} ± {score(seeds.spread)} (mean ± standard deviation)"
    )
    if margin is None:
        return f"{text}."
    if margin > seeds.spread:
        return f"{text}; the two trials differ by more than this deviation."
    return f"{text}; the two trials differ by no more than this deviation, so it may be chance."


def _times(seeds: _SeedValues) -> str:
    return "once" if seeds.diverged == 1 else f"{seeds.diverged} times"
