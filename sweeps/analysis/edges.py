"""Findings about the edge of the search space: the best value may lie beyond it."""

from collections.abc import Iterator

from sweeps.analysis.finding import Finding, Kind
from sweeps.analysis.trials import SweepTrials
from sweeps.config.space import Choices, Parameter, Range, Scalar
from sweeps.text import number

NEAR = 0.05
"""Part of a range, on its own scale, that counts as its edge."""


def edge_findings(trials: SweepTrials) -> Iterator[Finding]:
    """Yield which values of the best trial are at an edge, if other values were tried, too.

    A seed has no better end. Nor does a finding stand on one trial alone.
    """
    found = list(_edges(trials)) if len(trials.complete) > 1 else []
    if found:
        values = trials.complete[0].values
        settings = [
            f"{trials.setting(each.path, values[each.path])} ({where})" for each, where in found
        ]
        listed = (
            " and ".join([", ".join(settings[:-1]), settings[-1]]) if settings[1:] else settings[0]
        )
        text = f"The best trial has {listed}: better values may lie outside the search space."
        numbers = {trials.short(each.path): float(values[each.path]) for each, _ in found}
        yield Finding(Kind.EDGE, text, numbers)


def _edges(trials: SweepTrials) -> Iterator[tuple[Parameter, str]]:
    """Yield each parameter whose best value is at an edge, and which edge that is."""
    values = trials.complete[0].values
    for parameter in trials.space.parameters:
        value = values.get(parameter.path)
        if value is None or not parameter.applies(values) or _is_seed(parameter):
            continue
        if len(_tried(trials, parameter)) > 1 and (where := _edge(parameter.domain, value)):
            yield parameter, where + _condition(parameter)


def _tried(trials: SweepTrials, parameter: Parameter) -> set[Scalar]:
    """Return the values that complete trials had."""
    values = (trial.values for trial in trials.complete)
    return {each[parameter.path] for each in values if parameter.applies(each)}


def _is_seed(parameter: Parameter) -> bool:
    return "seed" in parameter.path.rpartition(".")[2]


def _condition(parameter: Parameter) -> str:
    if parameter.condition is None:
        return ""
    return f" for {parameter.condition[0].rpartition('.')[2]} {parameter.condition[1]}"


def _edge(domain: Range | Choices, value: Scalar) -> str:
    """Return which edge of the domain the value is at; empty if it is at none, or not a number."""
    if isinstance(value, str | bool):
        return ""
    if isinstance(domain, Choices):
        return _edge_of_choices(domain, value)
    position = domain.position(value)
    scale = f"of the range {number(domain.low)} to {number(domain.high)}"
    if position <= NEAR and value != 0:
        return f"{_at(position)} the lower end {scale}"
    return f"{_at(1 - position)} the upper end {scale}" if position >= 1 - NEAR else ""


def _at(distance: float) -> str:
    return "close to" if distance > 0 else "at"


def _edge_of_choices(domain: Choices, value: float) -> str:
    """Return whether a number is the smallest or largest choice; nothing lies below 0."""
    numbers = [each for each in domain.values if not isinstance(each, str | bool)]
    if len(numbers) < max(2, len(domain.values)):
        return ""
    listed = ", ".join(map(number, sorted(numbers)))
    if value == min(numbers) and value != 0:
        return f"the smallest of {listed}"
    return f"the largest of {listed}" if value == max(numbers) else ""
