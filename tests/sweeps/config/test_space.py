import re

import pytest

from sweeps.config.space import Choices, Range, parse_space
from sweeps.errors import InputError

TABLE = {
    "training.learning_rate": {
        "depends_on": "training.optimizer",
        "cases": {"adam": {"low": 1e-5, "high": 1e-2, "log": True}, "sgd": [0.1, 0.2]},
    },
    "training.optimizer": ["adam", "sgd"],
    "model.depth": {"low": 1, "high": 3},
}


def test_a_dimension_is_suggested_after_the_one_it_depends_on() -> None:
    suggested = []

    def first_corner(parameter: object) -> object:
        suggested.append(parameter.name)
        return parameter.domain.corner_values()[0]

    values = parse_space(TABLE, "x.toml").suggest(first_corner)
    assert values == {
        "training.optimizer": "adam",
        "model.depth": 1,
        "training.learning_rate": 1e-5,
    }
    assert suggested[-1] == "training.learning_rate | training.optimizer = adam"


def test_a_space_with_a_continuous_range_cannot_be_listed() -> None:
    assert parse_space(TABLE, "x.toml").points() is None


def test_a_finite_space_lists_each_point_once() -> None:
    finite = {
        "a": [1, 2],
        "b": {"low": 1, "high": 3},
        "c": {"depends_on": "a", "cases": {"1": [7], "2": [8, 9]}},
    }
    points = list(parse_space(finite, "x.toml").points())
    assert len(points) == 3 * 1 + 3 * 2
    assert len({tuple(sorted(p.items())) for p in points}) == len(points)
    assert all(p["c"] == 7 for p in points if p["a"] == 1)


def test_the_corner_points_contain_every_choice_and_bound() -> None:
    corners = list(parse_space(TABLE, "x.toml").corner_points())
    assert all(values.keys() == TABLE.keys() for values in corners)
    contained = {(path, value) for values in corners for path, value in values.items()}
    assert {("training.optimizer", "adam"), ("training.optimizer", "sgd")} <= contained
    assert {("model.depth", 1), ("model.depth", 3), ("training.learning_rate", 1e-2)} <= contained
    for values in corners:
        assert (values["training.learning_rate"] < 0.1) == (values["training.optimizer"] == "adam")


def test_a_range_with_integer_bounds_contains_integers_only() -> None:
    assert 2 in Range(low=1, high=3)
    assert 2.5 not in Range(low=1, high=3)
    assert 2.5 in Range(low=1.0, high=3)
    assert True not in Range(low=0, high=3)
    assert True not in Choices((1, 2))


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"a": 3}, "= 3 is not a valid dimension; write a list of values, or"),
        ({"a": []}, "is not a valid dimension; write a list of values, or"),
        ({"a": [1, 1]}, "has a choice twice"),
        ({"a": {"low": 2, "high": 1}}, "low = 2 must be less than high = 1"),
        ({"a": {"low": 0, "high": 1, "log": True}}, "'a': low = 0 must be positive if log = true"),
        ({"a": {"low": 0, "high": 1, "lag": True}}, "unknown key 'lag'; did you mean 'log'"),
        ({"a": {"low": 0}}, "'high' is missing"),
        (
            {"a": {"depends_on": "b", "cases": {}}},
            "depends_on = 'b' is not a dimension with a list of choices",
        ),
        (
            {"b": [1, 2], "a": {"depends_on": "b", "cases": {"1": [1]}}},
            "one key for each choice of 'b', and no other: 1, 2",
        ),
        (
            {"b": [1], "a": {"depends_on": "b", "cases": {"1": [1], "2": [1]}}},
            "one key for each choice of 'b', and no other: 1",
        ),
        ({"b": [1], "a": {"depends_on": "b"}}, "one key for each choice of 'b'"),
    ],
)
def test_an_invalid_dimension_is_refused(table: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        parse_space(table, "x.toml")


@pytest.mark.parametrize(
    ("dimension", "message"),
    [
        ({"low": "1e-4", "high": 1}, "low: '1e-4' is not a finite number; remove the quotes: 1e-4"),
        ({"low": 1, "high": "16"}, r"high: '16' is not a finite number; remove the quotes: 16"),
        ({"low": True, "high": 2}, r"low: True is not a finite number; write 1"),
        ({"low": "auto", "high": 2}, r"low: 'auto' is not a finite number$"),
        ({"low": [1], "high": 2}, r"low: \[1\] is not a finite number$"),
        ({"low": float("nan"), "high": 2}, "low: nan is not a finite number"),
        ({"low": 1, "high": float("inf")}, "high: inf is not a finite number"),
        ({"low": 1, "high": 2, "log": "true"}, r"log = 'true': .*; remove the quotes: true"),
        ({"low": 1, "high": 2, "log": 1}, r"log = 1: .*; write true"),
        ({"low": 1, "high": 2, "log": [1]}, r"log = \[1\]: input should be a valid boolean$"),
        ({"low": 1, "high": 2, "log": {"a": 1}}, r"log = \{'a': 1\}: .* a valid boolean$"),
        ({"low": 1, "high": 2, "log": "[1]"}, r"log = '\[1\]': .* a valid boolean$"),
        ({"low": 1, "high": 2, "log": "true\nx = 2"}, r"log = 'true\\nx = 2': .* boolean$"),
        ({"low": "1\nx=2", "high": 2}, r"low: '1\\nx=2' is not a finite number$"),
        ({"low": 0, "high": 8, "step": 2}, "a range has no step; write the values as a list"),
        ([1, 1.0], "has a choice twice"),
        ([1, True], "has a choice twice"),
    ],
)  # fmt: skip
def test_a_value_of_the_wrong_type_is_refused_with_what_to_write(
    dimension: object, message: str
) -> None:
    with pytest.raises(InputError, match=rf"x.toml: \[space\] 'a'.*{message}"):
        parse_space({"a": dimension}, "x.toml")


@pytest.mark.parametrize(
    ("value", "advice"),
    [
        ("4", "; remove the quotes: 4"),
        (4.0, "; write 4"),
        (True, "; write 1"),
        ("b", "$"),
        (5, "$"),
    ],
)
def test_an_enqueued_value_of_the_wrong_type_is_refused_with_what_to_write(
    value: object, advice: str
) -> None:
    reason = parse_space({"a": [4, 16]}, "x.toml").rejection_reason({"a": value})
    assert re.search(rf"is outside choices 4, 16{advice}", str(reason))
