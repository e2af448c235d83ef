import pytest

from sweeps.config.space import Choices, Range, parse_space
from sweeps.errors import InputError

TABLE = {
    "training.learning_rate": {
        "given": "training.optimizer",
        "cases": {"adam": {"low": 1e-5, "high": 1e-2, "log": True}, "sgd": [0.1, 0.2]},
    },
    "training.optimizer": ["adam", "sgd"],
    "model.depth": {"low": 1, "high": 3},
}


def test_a_dimension_is_asked_after_what_it_depends_on() -> None:
    asked = []

    def first_end(parameter: object) -> object:
        asked.append(parameter.name)
        return parameter.domain.corner_values()[0]

    values = parse_space(TABLE, "x.toml").suggest(first_end)
    assert values == {
        "training.optimizer": "adam",
        "model.depth": 1,
        "training.learning_rate": 1e-5,
    }
    assert asked[-1] == "training.learning_rate | training.optimizer = adam"


def test_a_space_with_a_continuous_range_cannot_be_listed() -> None:
    assert parse_space(TABLE, "x.toml").points() is None


def test_a_finite_space_lists_each_point_once() -> None:
    finite = {
        "a": [1, 2],
        "b": {"low": 1, "high": 3},
        "c": {"given": "a", "cases": {"1": [7], "2": [8, 9]}},
    }
    points = list(parse_space(finite, "x.toml").points())
    assert len(points) == 3 * 1 + 3 * 2
    assert len({tuple(sorted(p.items())) for p in points}) == len(points)
    assert all(p["c"] == 7 for p in points if p["a"] == 1)


def test_the_ends_bring_every_choice_and_bound_about() -> None:
    ends = list(parse_space(TABLE, "x.toml").corner_points())
    assert all(values.keys() == TABLE.keys() for values in ends)
    brought = {(path, value) for values in ends for path, value in values.items()}
    assert {("training.optimizer", "adam"), ("training.optimizer", "sgd")} <= brought
    assert {("model.depth", 1), ("model.depth", 3), ("training.learning_rate", 1e-2)} <= brought
    for values in ends:
        assert (values["training.learning_rate"] < 0.1) == (values["training.optimizer"] == "adam")


def test_a_whole_range_holds_whole_numbers_only() -> None:
    assert 2 in Range(low=1, high=3)
    assert 2.5 not in Range(low=1, high=3)
    assert 2.5 in Range(low=1.0, high=3)
    assert True not in Range(low=0, high=3)
    assert True not in Choices((1, 2))


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"a": 3}, "write a list of values, or"),
        ({"a": []}, "write a list of values, or"),
        ({"a": [1, 1]}, "stands there twice"),
        ({"a": {"low": 2, "high": 1}}, "low = 2 must be less than high = 1"),
        ({"a": {"low": 0, "high": 1, "log": True}}, "must be positive where log"),
        ({"a": {"low": 0, "high": 1, "lag": True}}, "unknown key 'lag'; did you mean 'log'"),
        ({"a": {"low": 0}}, "'high' is missing"),
        ({"a": {"given": "b", "cases": {}}}, "given = 'b' is no list of choices"),
        ({"b": [1, 2], "a": {"given": "b", "cases": {"1": [1]}}}, "each choice of 'b' once"),
        ({"b": [1], "a": {"given": "b", "cases": {"1": [1], "2": [1]}}}, "each choice of 'b'"),
        ({"b": [1], "a": {"given": "b"}}, "each choice of 'b'"),
    ],
)
def test_what_is_no_dimension_is_refused(table: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        parse_space(table, "x.toml")
