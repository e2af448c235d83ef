"""The number of files that is told before a sweep is that of a real one."""

from collections.abc import Callable

from sweeps.cli.plan import make_plan, plan_content, plan_lines
from sweeps.jobs.start import SweepRequest
from sweeps.storage.file_count import FILES_A_TRIAL, OTHER_FILES, FileCount, count_files
from sweeps.storage.sweep import Sweep
from sweeps.tracking.sync import publish_once
from tests.sweeps.conftest import MakeSweep, worker_of


def test_a_real_trial_makes_as_many_files_as_is_told_before_it(
    make_sweep: MakeSweep, give_store: Callable[[Sweep], None]
) -> None:
    sweep = make_sweep(trials=3, pruner="none")
    give_store(sweep)
    expected = count_files(sweep.paths, 3)
    assert expected == FileCount(3, FILES_A_TRIAL, OTHER_FILES, measured=False)
    worker_of(sweep).run()
    assert publish_once(sweep) is None
    found = count_files(sweep.paths, 3)
    assert found.measured
    assert abs(found.per_trial - FILES_A_TRIAL) <= 4
    assert found.others < OTHER_FILES


def test_the_files_of_ended_trials_are_counted(make_sweep: MakeSweep) -> None:
    sweep = make_sweep(trials=2, pruner="none")
    worker_of(sweep).run()
    before = count_files(sweep.paths, 8)
    for trial in sweep.paths.trials():
        for number in range(3):
            (trial.folder / f"more-{number}").touch()
    (sweep.paths.folder / "notes").touch()
    after = count_files(sweep.paths, 8)
    assert (after.per_trial, after.others) == (before.per_trial + 3, before.others + 1)
    assert after.total == 8 * after.per_trial + after.others


def test_a_plan_says_how_many_files_the_sweep_makes(
    make_sweep: MakeSweep, write_experiment: Callable[..., object]
) -> None:
    sweep = make_sweep(trials=3)
    request = SweepRequest(write_experiment(trials=3), "local", sweep.paths.runs)
    plan = make_plan(request)
    total = 3 * FILES_A_TRIAL + OTHER_FILES
    line = f"about {total} files and folders: 3 trials of {FILES_A_TRIAL} each, and {OTHER_FILES} "
    assert any(text.startswith(line) for text in plan_lines(plan))
    assert plan_content(plan)["files"] == total
