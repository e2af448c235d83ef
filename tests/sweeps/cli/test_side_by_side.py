"""What `sweeps plan` knows of several workers in one job, from folders made for it."""

import json
from pathlib import Path

import pytest

from sweeps.cli.side_by_side import in_words, measured
from sweeps.filesystem import atomic
from sweeps.storage.paths import SweepPaths
from sweeps.storage.sweep import Sweep
from tests.sweeps.conftest import MakeSweep

START = 1_800_000_000.0


def attempt(
    sweep: Sweep, number: int, job: str, *, starts: float, seconds: float, epochs: int = 6
) -> None:
    """A trial's only attempt: so many epochs of so many seconds, one right after the other."""
    trial = sweep.paths.trial(number, f"{number:08x}")
    made = trial.attempt(1)
    made.folder.mkdir(parents=True)
    trial.config.touch()
    atomic.write(made.claim, json.dumps({"job": job}))
    for epoch in range(1, epochs + 1):
        end = START + starts + epoch * seconds
        row = {"epoch": epoch, "timestamp": round(1000 * end), "seconds": seconds}
        atomic.append(made.metrics, json.dumps(row))


def test_what_a_job_got_done_is_told_apart_by_how_many_worked(make_sweep: MakeSweep) -> None:
    sweep = make_sweep()
    attempt(sweep, 0, "one", starts=0, seconds=10)  # alone: 6 epochs in 60 s
    attempt(sweep, 1, "two", starts=0, seconds=15)  # two at once: 12 epochs in 90 s
    attempt(sweep, 2, "two", starts=0, seconds=15)
    attempt(sweep, 3, "other", starts=0, seconds=10)  # another job's, at the same time
    found = measured(sweep.paths)
    assert {n: (m.epochs, m.seconds) for n, m in found.items()} == {
        1: (pytest.approx(12), pytest.approx(120)),
        2: (pytest.approx(12), pytest.approx(90)),
    }
    said = in_words(sweep.paths, sweep.experiment.trainer, "on one GPU")
    assert said == (
        "workers side by side on one GPU, in tiny: 1 worker 360 epochs an hour, "
        "2 workers 480 epochs an hour (1.33 times that); settings differ between trials"
    )


def test_an_overlap_counts_for_as_long_as_it_lasts(make_sweep: MakeSweep) -> None:
    sweep = make_sweep()
    attempt(sweep, 0, "a", starts=0, seconds=10)
    attempt(sweep, 1, "a", starts=30, seconds=10)
    attempt(sweep, 2, "a", starts=200, seconds=10, epochs=1)  # after a pause
    found = {n: (m.epochs, m.seconds) for n, m in measured(sweep.paths).items()}
    assert found == {
        1: (pytest.approx(7), pytest.approx(70)),
        2: (pytest.approx(6), pytest.approx(30)),
    }


def test_where_little_is_known_it_says_how_to_find_out(make_sweep: MakeSweep) -> None:
    sweep = make_sweep()
    said = in_words(sweep.paths, sweep.experiment.trainer, "on one GPU")
    assert "not known yet: run some trials with workers = 1" in said
    attempt(sweep, 0, "a", starts=0, seconds=10, epochs=4)
    assert "not known yet" in in_words(sweep.paths, sweep.experiment.trainer, "on one GPU")
    attempt(sweep, 1, "b", starts=0, seconds=10)
    said = in_words(sweep.paths, sweep.experiment.trainer, "on one GPU")
    assert "1 worker 360 epochs an hour; nothing to compare it with" in said


def test_another_sweep_of_the_same_trainer_may_know(make_sweep: MakeSweep, tmp_path: Path) -> None:
    attempt(make_sweep(), 0, "a", starts=0, seconds=10)
    runs = make_sweep().paths.runs
    new = SweepPaths(runs / "new")
    assert "in tiny: 1 worker" in in_words(new, "tests.sweeps.tiny:trainer", "on one GPU")
    assert "not known" in in_words(new, "another:trainer", "on one GPU")
