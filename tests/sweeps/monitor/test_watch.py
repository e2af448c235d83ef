"""The view of a sweep: how it is closed is said once, and its totals are left to the summary."""

import io

import pytest
from rich.console import Console

from sweeps.monitor.watch import CLOSE_HINT, watch
from tests.sweeps.conftest import MakeSweep, worker_of


@pytest.mark.parametrize("ended", [1, 2])
def test_a_log_says_once_how_the_view_is_closed_while_the_sweep_runs(
    make_sweep: MakeSweep, ended: int
) -> None:
    sweep, out = make_sweep(trials=2, epochs=2, pruner="none"), io.StringIO()
    worker_of(sweep, trials=ended).run()
    watch(sweep, Console(file=out, width=200))
    assert out.getvalue().count(CLOSE_HINT) == (ended == 1)


def test_the_last_view_on_a_terminal_has_neither_totals_nor_the_hint(
    make_sweep: MakeSweep, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TERM", "xterm")
    sweep, out = make_sweep(trials=2, epochs=2, pruner="none"), io.StringIO()
    worker_of(sweep).run()
    watch(sweep, Console(file=out, width=100, height=40, force_terminal=True))
    views = out.getvalue().split("sweep tiny")[1:]
    assert CLOSE_HINT in views[0]
    assert "2 of 2 trials" in views[0]
    assert CLOSE_HINT not in views[-1]
    assert "2 of 2 trials" not in views[-1]
    assert "0001" in views[-1]
