"""The line of the best value so far."""

import pytest

from sweeps.config.experiment import Objective
from sweeps.monitor.best_so_far import best_line, best_so_far, sparkline
from sweeps.streams import encodable
from tests.sweeps.analysis.records import complete, pruned


def test_the_best_of_complete_trials_is_followed_in_the_order_in_which_they_ended() -> None:
    first, second, third = complete(2, 0.1), pruned(0, 0.9, 0.9), complete(1, 0.1, 0.2, 0.3)
    maximize, minimize = (Objective(direction=way) for way in ("maximize", "minimize"))
    assert best_so_far([third, second, first], maximize) == [0.1, 0.1, 0.3]
    assert best_so_far([third, second, first], minimize) == [0.1, 0.1, 0.1]
    assert best_so_far([second], maximize) == []


def test_the_line_has_the_first_and_the_last_value_and_a_fallback_in_ascii() -> None:
    [line] = best_line([0.0, 0.5, 1.0], "val/ssim")
    assert line == "best val/ssim: 0.0000 ▁▅█ 1.0000"
    assert encodable(line, "ascii") == "best val/ssim: 0.0000 _=# 1.0000"
    assert best_line([0.5], "val/ssim") == []


@pytest.mark.parametrize("values", [[0.5] * 3, [0.5], [-1.0, 2.0], list(range(1000))])
def test_the_blocks_are_as_many_as_the_values_or_as_fit(values: list[float]) -> None:
    blocks = sparkline(values, 30)
    assert len(blocks) == min(30, len(values))
    assert len(encodable(blocks, "ascii")) == len(blocks)
    assert list(blocks) == sorted(blocks)  # the values grow, and so do the blocks
