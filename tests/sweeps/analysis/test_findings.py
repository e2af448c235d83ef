"""The findings of real sweeps: which are shown where, and that a confirmation adds to them."""

from collections.abc import Callable

import pytest

from sweeps.analysis.finding import Finding, Kind
from sweeps.analysis.findings import FOR_TERMINALS, as_markdown, find_all, most_important
from sweeps.monitor.lines import finding_lines
from sweeps.monitor.watch import current_status
from sweeps.promotion.confirm import best_trials, confirm
from sweeps.storage.sweep import Sweep
from sweeps.storage.trial_record import read_snapshot
from sweeps.tracking.importances import store_importances
from tests.sweeps.conftest import MakeSweep, worker_of


@pytest.fixture
def finished(make_sweep: MakeSweep) -> Sweep:
    sweep = make_sweep(trials=8, pruner="none", seconds=0.01)
    worker_of(sweep).run()
    return sweep


def found(sweep: Sweep) -> dict[Kind, str]:
    snapshots = [read_snapshot(paths) for paths in sweep.paths.trials()]
    return {each.kind: each.text for each in find_all(sweep, snapshots)}


def test_a_sweep_that_is_not_over_has_no_findings(make_sweep: MakeSweep) -> None:
    sweep = make_sweep(trials=3)
    assert finding_lines(current_status(sweep)) == []
    worker_of(sweep, trials=1).run()
    assert finding_lines(current_status(sweep)) == []


def test_importances_are_shown_once_they_are_stored(finished: Sweep) -> None:
    snapshots = [read_snapshot(paths) for paths in finished.paths.trials()]
    assert Kind.IMPORTANCE not in found(finished)
    store_importances(finished, snapshots)
    assert "fANOVA" in found(finished)[Kind.IMPORTANCE]
    stored = finished.paths.importances.read_bytes()
    store_importances(finished, snapshots)
    assert finished.paths.importances.read_bytes() == stored


def test_the_confirmation_of_the_best_trial_shows_the_spread_over_seeds(finished: Sweep) -> None:
    assert "is not known yet" in found(finished)[Kind.MARGIN]
    trials = best_trials(finished)
    confirmation = confirm(finished, trials, finished.plan.cluster, ("promote", "tiny"))
    worker_of(confirmation).run()
    assert "With 3 new random seeds the best configuration reaches" in found(finished)[Kind.MARGIN]
    assert set(found(confirmation)) == {Kind.TIME, Kind.UTILISATION}


def test_lines_are_broken_between_words_on_a_terminal_only(
    finished: Sweep, monkeypatch: pytest.MonkeyPatch
) -> None:
    status = current_status(finished)
    monkeypatch.setenv("COLUMNS", "60")
    narrow = finding_lines(status)
    monkeypatch.setenv("COLUMNS", "0")
    whole = finding_lines(status)
    assert max(map(len, narrow)) <= 60
    assert all(line.startswith(("findings:", "- ", "  ")) for line in narrow)
    assert " ".join(" ".join(narrow).split()) == " ".join(whole)


def test_a_terminal_shows_the_most_important_ones_in_order() -> None:
    every = [Finding(kind, kind.value) for kind in Kind for _ in range(2)]
    shown = [finding.kind for finding in most_important(every, most=3)]
    assert shown == [FOR_TERMINALS[0], FOR_TERMINALS[0], FOR_TERMINALS[1]]
    assert most_important([]) == []


@pytest.mark.parametrize("settings", [{"trials": 1}, {"bug": "true"}, {"trials": 2, "epochs": 1}])
def test_small_sweeps_have_findings_without_gaps(
    make_sweep: Callable[..., Sweep], settings: dict[str, object]
) -> None:
    sweep = make_sweep(**settings)
    worker_of(sweep).run()
    for text in found(sweep).values():
        assert text.endswith(".")
        assert "  " not in text
        assert "nan" not in text


def test_characters_that_mean_something_in_markdown_are_escaped() -> None:
    text = as_markdown([Finding(Kind.BEST, "batch_size <b>*\n- x")])
    assert text == r"- batch\_size \<b\>\* - x"
    assert as_markdown([]) == ""


def test_the_folder_is_read_without_the_trainer(finished: Sweep) -> None:
    """`sweeps status` must not import it: a trainer may import torch."""
    plan = finished.paths.plan
    plan.write_text(plan.read_text().replace("tests.sweeps.tiny", "not.there"))
    assert Kind.BEST in found(finished)
