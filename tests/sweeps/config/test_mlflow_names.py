"""Names in MLflow: which ones it accepts, and how the others are renamed."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from mlflow.exceptions import MlflowException
from mlflow.utils.validation import _validate_metric

from sweeps.config.mlflow_names import MAX_NAME, names_in_mlflow, rename, why_refused


def accepts(name: str) -> bool:
    """Whether MLflow itself accepts the name of a metric."""
    try:
        _validate_metric(name, 0.5, 0, 0)
    except MlflowException:
        return False
    return True


NAMES = st.text(st.sampled_from("ab/.. _-:@%[]é\t☃")) | st.text(max_size=400)


@given(NAMES)
@example("")
@example("../x")
@example("..x")
@example("a//b")
@example("/")
@example("a/./b")
@example("x" * 251)
def test_mlflow_accepts_each_name_that_is_kept_and_each_new_one(name: str) -> None:
    (shown,) = names_in_mlflow([[name]]).values()
    assert accepts(shown)
    if why_refused(name) is None:
        assert accepts(name)
        assert shown == name


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("val/acc@1", "val/acc_1"),
        ("val/IoU[0.5:0.95]%", "val/IoU_0.5:0.95__"),
        ("../x", "__/x"),
        ("a//b/", "a/b"),
        ("val/ssim", "val/ssim"),
    ],
)
def test_a_character_that_mlflow_refuses_becomes_an_underscore(name: str, shown: str) -> None:
    assert rename(name) == shown


@given(st.lists(st.lists(NAMES, max_size=5), max_size=4))
@example([["a_-2213d4cc", "a@", "a%"], ["", "/"]])
@example([["x" * 251, "x" * 252]])
def test_no_two_names_become_one_and_later_names_change_no_earlier_one(
    groups: list[list[str]],
) -> None:
    found = names_in_mlflow(groups, taken=["objective"])
    assert len({*found.values(), "objective"}) == len(found) + 1
    assert all(len(shown) <= MAX_NAME for shown in found.values())
    for end in range(len(groups)):
        earlier = names_in_mlflow(groups[:end], taken=["objective"])
        assert earlier.items() <= found.items()


def test_a_name_that_mlflow_accepts_is_kept_before_others_become_equal_to_it() -> None:
    assert names_in_mlflow([["a@", "a_"]])["a_"] == "a_"
