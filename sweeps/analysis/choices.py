"""Findings about lists of choices: how trials with each of them did, such as Adam against SGD."""

import statistics
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from sweeps.analysis.finding import Finding, Kind, score
from sweeps.analysis.trials import SweepTrials
from sweeps.config.space import Choices, Parameter, Scalar
from sweeps.storage.trial_record import State
from sweeps.text import number


@dataclass(frozen=True)
class ChoiceResult:
    """How the trials with one choice did.

    Attributes:
        choice: the value.
        values: the values of its complete trials, the best first.
        states: how many of its trials ended in each state.
    """

    choice: Scalar
    values: Sequence[float]
    states: Counter[State]


def choice_findings(trials: SweepTrials) -> Iterator[Finding]:
    """Yield a comparison for each list of which two choices have complete trials."""
    for parameter in trials.space.parameters:
        if not isinstance(parameter.domain, Choices):
            continue
        results = compare_choices(trials, parameter)
        if sum(bool(result.values) for result in results) >= 2:
            yield _finding(trials, parameter, results)


def compare_choices(trials: SweepTrials, parameter: Parameter) -> list[ChoiceResult]:
    """Return how the trials with each choice did, the best choice first; those not tried are out.

    Args:
        trials: the trials of a sweep.
        parameter: a parameter with a list of choices.
    """
    results = [_result(trials, parameter, choice) for choice in parameter.domain.points() or []]
    tried = [result for result in results if result.states]
    sign = trials.objective.sign
    return sorted(tried, key=lambda r: -sign * r.values[0] if r.values else float("inf"))


def _result(trials: SweepTrials, parameter: Parameter, choice: Scalar) -> ChoiceResult:
    ended = [
        each
        for each in trials.snapshots
        if each.result is not None
        and parameter.applies(each.spec.values)
        and each.spec.values.get(parameter.path) == choice
    ]
    values = [
        trial.value
        for trial in trials.complete
        if parameter.applies(trial.values) and trial.values.get(parameter.path) == choice
    ]
    states = Counter(each.result.state for each in ended if each.result is not None)
    return ChoiceResult(choice, values, states)


def _finding(trials: SweepTrials, parameter: Parameter, results: Sequence[ChoiceResult]) -> Finding:
    name = trials.short(parameter.path)
    condition = parameter.condition
    where = "" if condition is None else f" (for {trials.short(condition[0])} {condition[1]})"
    text = f"{name}{where} {'; '.join(map(_describe, results))}."
    numbers = {f"best {number(r.choice)}": r.values[0] for r in results if r.values}
    numbers |= {
        f"median {number(r.choice)}": statistics.median(r.values) for r in results if r.values
    }
    are_numbers = not any(isinstance(result.choice, str | bool) for result in results)
    return Finding(Kind.NUMBERS if are_numbers else Kind.CHOICES, text, numbers)


def _describe(result: ChoiceResult) -> str:
    """Return how one choice did: `adam: best 0.7012, median 0.6890 (4 complete, 1 pruned)`."""
    counts = ", ".join(f"{result.states[state]} {state}" for state in State if result.states[state])
    choice = number(result.choice)
    if not result.values:
        return f"{choice}: no complete trial ({counts})"
    best, median = score(result.values[0]), score(statistics.median(result.values))
    if len(result.values) == 1:
        return f"{choice}: {best} ({counts})"
    return f"{choice}: best {best}, median {median} ({counts})"
