"""What the time was spent on, from real folders."""

import json
from pathlib import Path

import pytest

from sweeps.analysis.finding import Kind, percent
from sweeps.analysis.time_spent import time_findings, time_spent
from sweeps.storage.paths import TrialPaths
from sweeps.storage.trial_record import (
    State,
    TrialResult,
    TrialSpec,
    append_row,
    read_snapshot,
    write_continued,
    write_result,
    write_spec,
)
from tests.sweeps.analysis.records import complete, point, row, sweep_of


def attempt(
    paths: TrialPaths, number: int, rows: list[tuple[int, float]], *, worker: int, claimed: float
) -> None:
    """An attempt whose epochs took 10 s each and ended at these times."""
    folder = paths.attempt(number)
    folder.folder.mkdir(parents=True)
    claim = {"machine": "m", "pid": worker, "started": "1", "time": claimed}
    folder.claim.write_text(json.dumps(claim))
    write_continued(folder, rows[0][0] - 1 if rows else 0)
    for epoch, end in rows:
        append_row(folder, row(epoch, 0.1, end=end))


def new_trial(folder: Path, number: int, state: State) -> TrialPaths:
    paths = TrialPaths(folder / f"{number:04d}-aaaaaaaa")
    paths.folder.mkdir()
    write_spec(paths, TrialSpec(number, point(), {}, 4, 1))
    write_result(paths, TrialResult(state, 0.1, 1, 4))
    return paths


def test_time_is_divided_by_outcome_and_by_worker(tmp_path: Path) -> None:
    first = new_trial(tmp_path, 0, State.COMPLETE)
    attempt(first, 1, [(1, 110), (2, 121), (3, 132)], worker=1, claimed=100)  # then it was lost
    attempt(first, 2, [(3, 213), (4, 224)], worker=2, claimed=200)
    second = new_trial(tmp_path, 1, State.PRUNED)
    attempt(second, 1, [(1, 260)], worker=2, claimed=250)
    spent = time_spent([read_snapshot(first), read_snapshot(second)])
    assert spent.by_state == {State.COMPLETE: 40.0, State.PRUNED: 10.0}
    assert (spent.repeated, spent.repeated_epochs, spent.lost_workers) == (10.0, 1, 1)
    assert spent.in_epochs == 60.0
    assert spent.of_workers == pytest.approx(32 + 60)
    found = {
        each.kind: each.text
        for each in time_findings(sweep_of(read_snapshot(first), read_snapshot(second)))
    }
    assert found[Kind.TIME] == (
        "Epochs took 1 min 00 s in all: 67 % in complete trials, 17 % in pruned trials, 17 % in "
        "epochs that were trained again."
    )
    assert found[Kind.REPEATED] == (
        "1 attempt at a trial ended with the loss of the worker; 1 epoch (10 s) had to be trained "
        "again."
    )
    assert "in epochs for 65 % of the time" in found[Kind.UTILISATION]


def test_a_release_is_no_loss_and_a_restored_epoch_is_not_counted_twice(tmp_path: Path) -> None:
    paths = new_trial(tmp_path, 0, State.COMPLETE)
    attempt(paths, 1, [(1, 110), (2, 121)], worker=1, claimed=100)
    paths.attempt(1).released.touch()
    attempt(paths, 2, [], worker=2, claimed=200)
    write_continued(paths.attempt(2), 2)
    append_row(paths.attempt(2), row(2, 0.1, end=121))  # its checkpoint's row, once more
    append_row(paths.attempt(2), row(3, 0.1, end=215))
    spent = time_spent([read_snapshot(paths)])
    assert (spent.lost_workers, spent.repeated_epochs, spent.total) == (0, 0, 30.0)
    assert spent.in_epochs == 30.0


def test_without_epochs_nothing_is_said() -> None:
    assert list(time_findings(sweep_of())) == []


def test_a_trial_without_attempts_says_nothing_of_workers() -> None:
    kinds = [each.kind for each in time_findings(sweep_of(complete(0, 0.1)))]
    assert kinds == [Kind.TIME]


@pytest.mark.parametrize(
    ("part", "text"), [(0.0, "0 %"), (0.001, "less than 1 %"), (0.5, "50 %"), (1.0, "100 %")]
)
def test_a_small_share_is_not_shown_as_nothing(part: float, text: str) -> None:
    assert percent(part, 1.0) == text
