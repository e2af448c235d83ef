"""The search space: which fields of a trial's configuration are searched, and over which values.

A dimension is a list of choices, a range, or cases: one list or range for each value of another
dimension (for example, a learning rate that depends on the optimizer).
"""

import itertools
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import Field, field_validator, model_validator

from sweeps.config.toml import StrictModel, validate, value_advice
from sweeps.errors import InputError
from sweeps.text import did_you_mean

Scalar = str | int | float | bool
Values = dict[str, Scalar]
"""A value for each searched path."""


class Range(StrictModel):
    """All numbers between two bounds, both included; integers only if both bounds are integers."""

    low: int | float = Field(
        description="The lowest value, included. If `low` and `high` are both integers, only "
        "integers are tried."
    )
    high: int | float = Field(description="The highest value, included; greater than `low`.")
    log: bool = Field(
        False,
        description="Whether values are sampled uniformly on a logarithmic scale; `low` must then "
        "be positive. By default the scale is linear.",
    )

    @field_validator("low", "high", mode="before")
    @classmethod
    def _check_number(cls, value: Any) -> Any:
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        if not is_number or not math.isfinite(value):
            raise ValueError(f"{value!r} is not a finite number{value_advice(value, float)}")
        return value

    @model_validator(mode="after")
    def _check_bounds(self) -> "Range":
        if self.low >= self.high:
            raise ValueError(f"low = {self.low} must be less than high = {self.high}")
        if self.log and self.low <= 0:
            raise ValueError(f"low = {self.low} must be positive if log = true")
        return self

    def __str__(self) -> str:
        return f"range {self.low} to {self.high}"

    @property
    def is_whole(self) -> bool:
        """Whether it is a range of integers."""
        return isinstance(self.low, int) and isinstance(self.high, int)

    def __contains__(self, value: object) -> bool:
        if not isinstance(value, int | float) or isinstance(value, bool):
            return False
        return self.low <= value <= self.high and (not self.is_whole or isinstance(value, int))

    def corner_values(self) -> list[Scalar]:
        """Return the bounds; for real numbers also a point between them that is not an integer."""
        return [self.low, self.high, *([] if self.is_whole else [self._inner_point()])]

    def _inner_point(self) -> float:
        return self.low + (self.high - self.low) * 0.38196601125  # golden section: not a round one

    def position(self, value: Scalar) -> float:
        """Return where a value of the range is, from 0 to 1, on the range's own scale."""
        if self.log:
            return math.log(float(value) / self.low) / math.log(self.high / self.low)
        return (float(value) - self.low) / (self.high - self.low)

    def points(self) -> list[Scalar] | None:
        """Return every value; None if they are too many to list."""
        if not self.is_whole or self.high - self.low >= 1000:
            return None
        return list(range(int(self.low), int(self.high) + 1))


@dataclass(frozen=True)
class Choices:
    """A list of values."""

    values: tuple[Scalar, ...]

    def __str__(self) -> str:
        return f"choices {', '.join(map(str, self.values))}"

    def __contains__(self, value: object) -> bool:
        return any(value == choice and type(value) is type(choice) for choice in self.values)

    def corner_values(self) -> list[Scalar]:
        """Return every choice, since one choice tells nothing about another."""
        return list(self.values)

    def position(self, value: Scalar) -> float:
        """Return where a choice is in the list, from 0 to 1."""
        return self.values.index(value) / max(1, len(self.values) - 1)

    def points(self) -> list[Scalar]:
        """Return every value."""
        return list(self.values)


@dataclass(frozen=True)
class Parameter:
    """One parameter that the sampler suggests a value for, with at most one condition.

    Attributes:
        path: the dotted path in the trial's configuration.
        domain: the values that may be suggested.
        condition: the path and the value of the dimension it depends on; None if it depends on
            none.
    """

    path: str
    domain: Range | Choices
    condition: tuple[str, Scalar] | None = None

    @property
    def name(self) -> str:
        """Its name in the study: each case has its own, so the sampler learns them separately."""
        return (
            self.path
            if self.condition is None
            else f"{self.path} | {self.condition[0]} = {self.condition[1]}"
        )

    def applies(self, values: Mapping[str, Scalar]) -> bool:
        """Return whether the condition holds for `values`, those of the parameters before it."""
        return self.condition is None or values.get(self.condition[0]) == self.condition[1]


@dataclass(frozen=True)
class Space:
    """The parameters of a search; each comes after the one that it depends on."""

    parameters: tuple[Parameter, ...]

    @property
    def paths(self) -> list[str]:
        """The searched paths."""
        return list(dict.fromkeys(parameter.path for parameter in self.parameters))

    @property
    def log_paths(self) -> list[str]:
        """The searched paths whose values are all numbers sampled on a logarithmic scale."""
        return [path for path in self.paths if all(map(_is_log, self._domains(path)))]

    def _domains(self, path: str) -> Iterator[Range | Choices]:
        return (parameter.domain for parameter in self.parameters if parameter.path == path)

    def suggest(self, ask: Callable[[Parameter], Scalar]) -> Values:
        """Return a value for each path; `ask` is called for each parameter that applies."""
        values: Values = {}
        for parameter in self.parameters:
            if parameter.applies(values):
                values[parameter.path] = ask(parameter)
        return values

    def by_parameter_name(self, values: Mapping[str, Scalar]) -> dict[str, Scalar]:
        """Return the values of a point by the parameters' names in the study."""
        applying = (parameter for parameter in self.parameters if parameter.applies(values))
        return {parameter.name: values[parameter.path] for parameter in applying}

    def points(self) -> Iterator[Values] | None:
        """Return every point; None if they are too many to list."""
        listed = [parameter.domain.points() for parameter in self.parameters]
        if any(points is None for points in listed):
            return None
        return self._points(self.parameters, {})

    def _points(self, parameters: tuple[Parameter, ...], values: Values) -> Iterator[Values]:
        if not parameters:
            yield values
        elif not parameters[0].applies(values):
            yield from self._points(parameters[1:], values)
        else:
            for value in parameters[0].domain.points() or []:
                yield from self._points(parameters[1:], values | {parameters[0].path: value})

    def corner_points(self) -> Iterator[Values]:
        """Yield one point for each choice and each bound, which together contain all of them."""
        for parameter in self.parameters:
            condition = dict([parameter.condition]) if parameter.condition else {}
            for value in parameter.domain.corner_values():
                yield self._corner_point(condition | {parameter.path: value})

    def _corner_point(self, requested: Values) -> Values:
        return self.suggest(lambda p: requested.get(p.path, p.domain.corner_values()[0]))

    def rejection_reason(self, values: Mapping[str, Any]) -> str | None:
        """Return why `values` (one per path) are not a point of the space; None if they are."""
        for path in values.keys() - set(self.paths):
            return f"{path!r} is not a searched path{did_you_mean(path, self.paths)}"
        for parameter in self.parameters:
            if parameter.applies(values) and values[parameter.path] not in parameter.domain:
                value, domain = values[parameter.path], parameter.domain
                advice = value_advice(value, type(domain.corner_values()[0]))
                return f"{parameter.path} = {value!r} is outside {domain}{advice}"
        return None


def _is_log(domain: Range | Choices) -> bool:
    return isinstance(domain, Range) and domain.log


def short_names(paths: Iterable[str]) -> dict[str, str]:
    """Return the last word of each searched path, except words that end several paths."""
    all_paths = list(paths)
    last = {path: path.rpartition(".")[2] for path in all_paths}
    return {path: word for path, word in last.items() if list(last.values()).count(word) == 1}


def parse_space(table: Mapping[str, Any], where: str) -> Space:
    """Return the space that the table `[space]` of an experiment describes.

    Raises:
        InputError: a dimension is not valid, or depends on one that is not a list of choices.
    """
    parameters = [_parameters(path, raw, table, where) for path, raw in table.items()]
    in_order = sorted(
        itertools.chain(*parameters), key=lambda parameter: parameter.condition is not None
    )
    return Space(tuple(in_order))


def _parameters(path: str, raw: Any, table: Mapping[str, Any], where: str) -> list[Parameter]:
    if not (isinstance(raw, Mapping) and "depends_on" in raw):
        return [Parameter(path, _domain(raw, f"{where}: [space] {path!r}"))]
    other = raw["depends_on"]
    if not isinstance(other, str) or not isinstance(table.get(other), list):
        lists = [name for name, domain in table.items() if isinstance(domain, list)]
        raise InputError(
            f"{where}: [space] {path!r}: depends_on = {other!r} is not a dimension with a list of "
            f"choices{did_you_mean(str(other), lists)}"
        )
    cases = raw.get("cases", {})
    missing = [
        str(value)
        for value in table[other]
        if not isinstance(cases, Mapping) or str(value) not in cases
    ]
    if missing or raw.keys() != {"depends_on", "cases"} or len(cases) != len(table[other]):
        advice = f"cases must have one key for each choice of {other!r}, and no other: "
        advice += ", ".join(map(str, table[other]))
        raise InputError(f"{where}: [space] {path!r}: {advice}")
    return [
        Parameter(
            path, _domain(cases[str(value)], f"{where}: [space] {path!r}: {value}"), (other, value)
        )
        for value in table[other]
    ]


def _domain(raw: Any, where: str) -> Range | Choices:
    if isinstance(raw, Mapping):
        if "step" in raw:
            advice = "write the values as a list, such as [0, 2, 4]"
            raise InputError(f"{where}: a range has no step; {advice}")
        return validate(raw, Range, where)
    if not isinstance(raw, list) or not raw or not all(isinstance(value, Scalar) for value in raw):
        forms = "write a list of values, or { low = …, high = … }"
        raise InputError(f"{where} = {raw!r} is not a valid dimension; {forms}")
    if len(set(raw)) != len(raw):  # 1, 1.0 and true are equal, for the study, too
        raise InputError(f"{where} = {raw!r} has a choice twice; write each choice once")
    return Choices(tuple(raw))
