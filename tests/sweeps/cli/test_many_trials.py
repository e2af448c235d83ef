"""The status of a sweep of many trials: what matters fits a screen, and all can be had."""

import json
import re
from collections import Counter
from collections.abc import Callable

import pytest

from sweeps.config.experiment import Objective
from sweeps.monitor.selection import Selection, select_best, select_latest
from sweeps.monitor.sweep_status import TrialStatus
from sweeps.storage.sweep import Sweep
from sweeps.storage.trial_record import State, read_result
from tests.sweeps.cli.many_trials import write_trials
from tests.sweeps.conftest import MakeSweep

Call = Callable[..., str]
TRIALS = 200


@pytest.fixture
def many(make_sweep: MakeSweep, monkeypatch: pytest.MonkeyPatch) -> Sweep:
    monkeypatch.setattr("os.fsync", lambda *_: None)  # there is no crash to survive here
    sweep = make_sweep(trials=TRIALS)
    write_trials(sweep, TRIALS)
    return sweep


def rows(text: str) -> list[str]:
    """The trials that are shown, in order."""
    return re.findall(r"^ +(?:★ )?(\d{4})", text, re.MULTILINE)


def test_the_status_of_many_trials_fits_a_screen_and_counts_the_rest(
    many: Sweep,
    call: Call,
) -> None:
    text = call("status")
    shown = rows(text)
    results = {trial.number: read_result(trial) for trial in many.paths.trials()}
    values = {n: r.value for n, r in results.items() if r and r.state is State.COMPLETE}
    best = sorted(values, key=lambda number: -(values[number] or 0.0))
    assert text.count("\n") <= 40
    assert [int(number) for number in shown[:5]] == best[:5]
    assert {"0198", "0199", "0010", "0020", "0030", "0040"} <= set(shown)
    more = re.search(r"… and (\d+) more: (\d+) complete, (\d+) pruned\n", text)
    assert more is not None
    assert int(more[1]) == int(more[2]) + int(more[3]) == TRIALS - len(shown)
    assert re.search(r"\nsee every trial with:\n  \S.* status .*--all\n", text)


@pytest.mark.parametrize("options", [("--all",), ("--sort", "best"), ("--sort", "trial")])
def test_all_of_many_trials_are_shown_if_asked_for(
    many: Sweep,
    call: Call,
    options: tuple[str, ...],
) -> None:
    text = call("status", *options)
    assert sorted(map(int, rows(text))) == [trial.number for trial in many.paths.trials()]
    assert "more:" not in text


def test_json_has_all_of_many_trials(many: Sweep, call: Call) -> None:
    content = json.loads(call("status", "--json"))
    assert len(content["trials"]) == len(many.paths.trials()) == TRIALS
    assert content["best_so_far"][-1] == content["value"]
    assert content["workers"] == 2
    assert 0 < content["seconds_left"] <= content["work_seconds_left"]


def trial(number: int, state: str, best: float = 0.5) -> TrialStatus:
    name = f"{number:04d}-00000000"
    return TrialStatus(name, state, 1, 9, best, {}, None, None, "", is_best=False)


@pytest.mark.parametrize("select", [select_latest, lambda t, n: select_best(t, Objective(), n)])
@pytest.mark.parametrize("only", [None, "running", "failed", "pruned", "complete", "waiting"])
def test_of_ten_thousand_trials_each_is_shown_or_counted(
    select: Callable[..., Selection], only: str | None
) -> None:
    states = ["complete", "pruned", "failed", "running", "waiting", "diverged"]
    trials = [trial(n, only or states[n % len(states)], n / 10_000) for n in range(10_000)]
    found = select(trials, 20)
    assert len({t.name for t in found.shown}) == len(found.shown) == 20
    assert found.hidden + Counter(t.state for t in found.shown) == Counter(t.state for t in trials)
    assert f"… and {9_980:,} more: " in found.line()
    assert select(trials[:20], 20) == Selection(trials[:20], Counter())


def test_the_lowest_values_are_the_best_where_the_objective_is_minimized() -> None:
    trials = [trial(n, "complete", n / 100) for n in range(100)]
    lowest = select_best(trials, Objective(direction="minimize"), 10)
    assert [t.number for t in lowest.shown] == list(range(10))
