"""The time left of a sweep, on records with known answers."""

import time
from dataclasses import replace

import pytest

from sweeps.monitor.time_left import TimeLeft, time_left, time_left_text
from sweeps.storage.progress import Progress
from sweeps.storage.trial_record import State, TrialSnapshot
from sweeps.trainer import FinishedEpoch
from tests.sweeps.analysis.records import complete, pruned, trial


def running(number: int, epochs: int, seconds: float = 10.0) -> TrialSnapshot:
    """A trial whose last epoch has just ended."""
    now = int(time.time() * 1000)
    rows = [FinishedEpoch(epoch, {}, now, seconds) for epoch in range(1, epochs + 1)]
    return replace(trial(number, State.RUNNING), rows=rows)


ENDED = [complete(0, 1, 1, 1, 1), complete(1, 1, 1, 1, 1), pruned(2, 1, 1), pruned(3, 1, 1)]
"""Of 4 epochs of 10 s, two of these trials used 4 and two used 2: 3 on average."""


def test_nothing_is_said_before_enough_trials_have_ended() -> None:
    assert time_left(ENDED[:2], frozenset(), Progress(9, 2, 2)) is None
    assert time_left([], frozenset(), Progress(9, 0, 0)) is None
    assert time_left(ENDED[:3], frozenset(), Progress(9, 3, 3)) is not None


def test_nothing_is_left_once_every_trial_has_ended() -> None:
    assert time_left(ENDED, frozenset(), Progress(4, 4, 4)) is None


def test_trials_to_come_take_as_many_epochs_as_those_before_with_pruning() -> None:
    left = time_left(ENDED, frozenset(), Progress(14, 4, 4))
    assert left is not None
    assert (left.work, left.seconds) == (pytest.approx(10 * 3 * 10.0), None)
    assert time_left_text(left) == (
        "no worker has a trial now; about 5 min of work left for one worker, "
        "at the pace of the last 4 trials"
    )


def test_the_text_is_no_countdown() -> None:
    texts = [time_left_text(TimeLeft(s, s, 1, 3)) for s in (0.0, 3.0, 42.0, 44.0, 12_000.0)]
    times = [text.partition("about ")[2].partition(" left")[0] for text in texts]
    assert times == ["10 s", "10 s", "40 s", "40 s", "3.3 h"]


def test_workers_share_what_is_left_and_an_extension_adds_to_it() -> None:
    open_trials = [running(4, 2), running(5, 2)]  # those that went beyond 2 epochs used 4
    names = frozenset(each.paths.name for each in open_trials)
    left = time_left([*ENDED, *open_trials], names, Progress(16, 6, 4))
    assert left is not None
    assert left.work == pytest.approx(10 * 30.0 + 2 * 20.0, abs=1.0)
    assert left.seconds == pytest.approx(left.work / 2)
    assert time_left_text(left).startswith("about 3 min left with 2 workers, at the pace of")
    extended = time_left([*ENDED, *open_trials], names, Progress(26, 6, 4))
    assert extended is not None
    assert extended.work - left.work == pytest.approx(10 * 30.0, abs=1.0)


def test_the_last_trial_takes_its_own_time_however_many_workers_are_free() -> None:
    slow, fast = running(4, 2, seconds=1000.0), running(5, 3, seconds=1.0)
    names = frozenset({slow.paths.name, fast.paths.name})
    left = time_left([*ENDED, slow, fast], names, Progress(6, 6, 4))
    assert left is not None
    assert left.seconds == pytest.approx(2000.0, abs=5.0)


def test_a_pause_of_the_sweep_does_not_count() -> None:
    late = [
        replace(each, rows=[replace(row, timestamp=row.timestamp + 10**9) for row in each.rows])
        for each in ENDED[2:]
    ]
    paused = time_left([*ENDED[:2], *late], frozenset(), Progress(14, 4, 4))
    assert paused == time_left(ENDED, frozenset(), Progress(14, 4, 4))


def test_only_the_latest_trials_set_the_pace() -> None:
    def at(number: int, seconds: float) -> TrialSnapshot:
        rows = [FinishedEpoch(1, {}, number * 1000, seconds)]
        return replace(pruned(number, 1), rows=rows)

    slow, fast = [at(n, 100.0) for n in range(30)], [at(n, 1.0) for n in range(30, 50)]
    left = time_left([*slow, *fast], frozenset(), Progress(60, 50, 50))
    assert left is not None
    assert (left.work, left.trials) == (pytest.approx(10.0), 20)
