"""The search space: which fields of a trial's configuration are searched, and over what.

A dimension is a list of choices, a range, or cases: one of these for each value of another
dimension (a learning rate that depends on the optimizer, say).
"""

import itertools
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import model_validator

from sweeps.config.toml import StrictModel, validate
from sweeps.errors import InputError
from sweeps.text import did_you_mean

Scalar = str | int | float | bool
Values = dict[str, Scalar]
"""A value for each searched path."""


class Range(StrictModel):
    """All numbers between two bounds, both included; whole numbers where both bounds are."""

    low: int | float
    high: int | float
    log: bool = False

    @model_validator(mode="after")
    def _check_bounds(self) -> "Range":
        if not (math.isfinite(self.low) and math.isfinite(self.high) and self.low < self.high):
            raise ValueError(f"low = {self.low} must be less than high = {self.high}")
        if self.log and self.low <= 0:
            raise ValueError(f"low = {self.low} must be positive where log = true")
        return self

    def __str__(self) -> str:
        return f"range {self.low} to {self.high}"

    @property
    def is_whole(self) -> bool:
        """Whether it is a range of whole numbers."""
        return isinstance(self.low, int) and isinstance(self.high, int)

    def __contains__(self, value: object) -> bool:
        if not isinstance(value, int | float) or isinstance(value, bool):
            return False
        return self.low <= value <= self.high and (not self.is_whole or isinstance(value, int))

    def corner_values(self) -> list[Scalar]:
        """The bounds, and a point between them that is no whole number unless all are."""
        return (
            [self.low, self.high] if self.is_whole else [self.low, self.high, self._inner_point()]
        )

    def _inner_point(self) -> float:
        return self.low + (self.high - self.low) * 0.38196601125  # golden section: nothing round

    def points(self) -> list[Scalar] | None:
        """Every value; None where they cannot be listed."""
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
        """Every choice: none says anything of another."""
        return list(self.values)

    def points(self) -> list[Scalar]:
        """Every value."""
        return list(self.values)


@dataclass(frozen=True)
class Parameter:
    """One question to the sampler: a path and what may be answered, under one condition at most.

    Attributes:
        path: the dotted path in the trial's configuration.
        domain: what may be answered.
        given: the path and the value of the dimension it depends on, if it does.
    """

    path: str
    domain: Range | Choices
    condition: tuple[str, Scalar] | None = None

    @property
    def name(self) -> str:
        """The name the sampler knows it by: each case learns for itself."""
        return (
            self.path
            if self.condition is None
            else f"{self.path} | {self.condition[0]} = {self.condition[1]}"
        )

    def applies(self, values: Mapping[str, Scalar]) -> bool:
        """Whether the question arises where the values before it are `values`."""
        return self.condition is None or values.get(self.condition[0]) == self.condition[1]


@dataclass(frozen=True)
class Space:
    """The questions of a search, in an order in which each can be asked."""

    parameters: tuple[Parameter, ...]

    @property
    def paths(self) -> list[str]:
        """The searched paths."""
        return list(dict.fromkeys(parameter.path for parameter in self.parameters))

    def suggest(self, ask: Callable[[Parameter], Scalar]) -> Values:
        """A value for each path, by putting each question that arises to `ask`."""
        values: Values = {}
        for parameter in self.parameters:
            if parameter.applies(values):
                values[parameter.path] = ask(parameter)
        return values

    def by_parameter_name(self, values: Mapping[str, Scalar]) -> dict[str, Scalar]:
        """The values of a point, by the names the sampler knows the questions by."""
        arising = (parameter for parameter in self.parameters if parameter.applies(values))
        return {parameter.name: values[parameter.path] for parameter in arising}

    def points(self) -> Iterator[Values] | None:
        """Every point; None where they cannot be listed."""
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
        """Points that bring every choice and every bound about: one for each."""
        for parameter in self.parameters:
            given = dict([parameter.condition]) if parameter.condition else {}
            for value in parameter.domain.corner_values():
                yield self._corner_point(given | {parameter.path: value})

    def _corner_point(self, wanted: Values) -> Values:
        return self.suggest(lambda p: wanted.get(p.path, p.domain.corner_values()[0]))

    def rejection_reason(self, values: Mapping[str, Any]) -> str | None:
        """Why `values`, one for each path, is no point of the space; None where it is one."""
        for path in values.keys() - set(self.paths):
            return f"{path!r} is not searched{did_you_mean(path, self.paths)}"
        for parameter in self.parameters:
            if parameter.applies(values) and values[parameter.path] not in parameter.domain:
                return f"{parameter.path} = {values[parameter.path]!r}: outside {parameter.domain}"
        return None


def short_names(paths: Iterable[str]) -> dict[str, str]:
    """The last word of each searched path, where no other one ends on it too."""
    all_paths = list(paths)
    last = {path: path.rpartition(".")[2] for path in all_paths}
    return {path: word for path, word in last.items() if list(last.values()).count(word) == 1}


def parse_space(table: Mapping[str, Any], where: str) -> Space:
    """The space that the table `[space]` of an experiment says.

    Raises:
        InputError: a dimension is none, or depends on what is not a list of choices.
    """
    parameters = [_parameters(path, raw, table, where) for path, raw in table.items()]
    in_order = sorted(
        itertools.chain(*parameters), key=lambda parameter: parameter.condition is not None
    )
    return Space(tuple(in_order))


def _parameters(path: str, raw: Any, table: Mapping[str, Any], where: str) -> list[Parameter]:
    if not (isinstance(raw, Mapping) and "given" in raw):
        return [Parameter(path, _domain(raw, f"{where}: [space] {path!r}"))]
    other = raw["given"]
    if not isinstance(other, str) or not isinstance(table.get(other), list):
        raise InputError(
            f"{where}: [space] {path!r}: given = {other!r} is no list of choices of this space"
        )
    cases = raw.get("cases", {})
    missing = [
        str(value)
        for value in table[other]
        if not isinstance(cases, Mapping) or str(value) not in cases
    ]
    if missing or raw.keys() != {"given", "cases"} or len(cases) != len(table[other]):
        choices = ", ".join(map(str, table[other]))
        mend = f"cases must name each choice of {other!r} once, and nothing else: {choices}"
        raise InputError(f"{where}: [space] {path!r}: {mend}")
    return [
        Parameter(
            path, _domain(cases[str(value)], f"{where}: [space] {path!r}: {value}"), (other, value)
        )
        for value in table[other]
    ]


def _domain(raw: Any, where: str) -> Range | Choices:
    if isinstance(raw, Mapping):
        return validate(raw, Range, where)
    if not isinstance(raw, list) or not raw or not all(isinstance(value, Scalar) for value in raw):
        raise InputError(f"{where} = {raw!r}: write a list of values, or {{ low = …, high = … }}")
    if len({(type(value), value) for value in raw}) != len(raw):
        raise InputError(f"{where} = {raw!r}: a choice stands there twice")
    return Choices(tuple(raw))
