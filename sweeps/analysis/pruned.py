"""Findings about pruning: what it saved, and which trials it may have stopped too early."""

import itertools
import math
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass

from sweeps.analysis.finding import Finding, Kind, score
from sweeps.analysis.trials import CompleteTrial, SweepTrials
from sweeps.search.pruning import best_epoch
from sweeps.storage.paths import TrialPaths
from sweeps.storage.sweep_totals import compute_totals
from sweeps.storage.trial_record import State
from sweeps.text import count, duration

_NONE_AHEAD_OF_BEST = " No pruned trial was ahead of the best trial at the same epoch."


@dataclass(frozen=True)
class PrunedAhead:
    """A pruned trial that was ahead of a complete one, both by their best epoch so far.

    Attributes:
        pruned: the pruned trial.
        epoch: its last epoch, at which the two are compared.
        value: its value.
        complete: the best trial of those that it was ahead of.
        then: what that one had reached at this epoch.
        rank: the place of that one among the complete trials, from 0.
    """

    pruned: TrialPaths
    epoch: int
    value: float
    complete: CompleteTrial
    then: float
    rank: int


def pruned_findings(trials: SweepTrials) -> Iterator[Finding]:
    """Yield what pruning saved, and which trials it may have stopped too early."""
    pruned = trials.in_state(State.PRUNED)
    ahead = pruned_ahead(trials)
    if ahead:
        yield _ahead_finding(ahead, len(pruned))
    totals = compute_totals(trials.snapshots, trials.objective)
    if saved := totals.hours_saved * 3600:
        spent = totals.hours * 3600
        text = (
            f"Pruning stopped {len(pruned)} of {count(len(trials.snapshots), 'trial')} early and "
            f"saved about {duration(saved)}: the epochs of all trials took {duration(spent)} "
            f"instead of {duration(spent + saved)}."
        )
        numbers = {"pruned": len(pruned), "saved": saved, "spent": spent}
        yield Finding(Kind.SAVED, text, numbers)


def pruned_ahead(trials: SweepTrials) -> list[PrunedAhead]:
    """Return each pruned trial that was ahead of a complete one; ahead of the best ones first."""
    lowest: dict[int, list[float]] = {}
    found = []
    for pruned in trials.in_state(State.PRUNED):
        curve = trials.curve(pruned)
        if not curve:
            continue
        epoch, value = max(curve), best_epoch(curve, trials.objective)[1]
        if epoch not in lowest:
            lowest[epoch] = _lowest_so_far(trials, epoch)
        # The first complete trial that was behind it: the values, negated, do not decrease.
        rank = bisect_right(lowest[epoch], -trials.objective.sign * value)
        if rank < len(trials.complete):
            complete = trials.complete[rank]
            then = best_epoch(complete.curve, trials.objective, epoch)[1]
            found.append(PrunedAhead(pruned.paths, epoch, value, complete, then, rank))
    return sorted(found, key=lambda each: each.rank)


def _lowest_so_far(trials: SweepTrials, epoch: int) -> list[float]:
    """Return for each complete trial the worst value at `epoch` of it and all better ones.

    Negated if higher is better: so the list does not decrease, and a place in it is found quickly.
    """
    sign, objective = trials.objective.sign, trials.objective
    negated = [
        -sign * best_epoch(each.curve, objective, epoch)[1]
        if any(other <= epoch for other in each.curve)
        else -math.inf
        for each in trials.complete
    ]
    return list(itertools.accumulate(negated, max))


def _ahead_finding(ahead: list[PrunedAhead], pruned: int) -> Finding:
    first = ahead[0]
    were = "was" if len(ahead) == 1 else "were"
    text = (
        f"{len(ahead)} of {count(pruned, 'pruned trial')} {were} ahead of a complete trial at the "
        f"same epoch and might have ended better than it: {first.pruned.name} had "
        f"{score(first.value)} after {count(first.epoch, 'epoch')}, when "
        f"{first.complete.paths.name} ({score(first.complete.value)} in the end) had "
        f"{score(first.then)}.{'' if first.rank == 0 else _NONE_AHEAD_OF_BEST}"
    )
    return Finding(Kind.PRUNED_AHEAD, text, {"ahead": len(ahead), "pruned": pruned})
