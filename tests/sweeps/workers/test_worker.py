import errno
import itertools
import os
import shutil
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from sweeps.filesystem.lock import LockLostError, Turn
from sweeps.monitor.sweep_status import sweep_status
from sweeps.search.study import ReportedState
from sweeps.storage.paths import AttemptPaths, TrialPaths
from sweeps.storage.sweep import Sweep, clear_stop, open_sweep, stop_reason, stop_sweep
from sweeps.storage.trial_record import (
    State,
    append_row,
    read_curve,
    read_result,
    read_spec,
    state_of,
    write_continued,
)
from sweeps.trainer import FinishedEpoch
from sweeps.workers.claims import claim_after
from sweeps.workers.propose import Proposer
from sweeps.workers.worker import Worker
from tests.sweeps.conftest import MakeSweep, worker_of


def states(sweep: object) -> Counter[str]:
    return Counter(read_result(paths).state for paths in sweep.paths.trials())


def test_a_sweep_ends_with_the_planned_number_of_trials(make_sweep: MakeSweep) -> None:
    sweep = make_sweep(trials=8)
    worker_of(sweep).run()
    assert sweep.is_over()
    assert sum(states(sweep).values()) == 8
    assert states(sweep)["pruned"] > 0


def test_raising_the_number_of_trials_extends_it(make_sweep: MakeSweep) -> None:
    worker_of(make_sweep(trials=3)).run()
    before = [paths.name for paths in make_sweep(trials=3).paths.trials()]
    longer = make_sweep(trials=5)
    assert not longer.is_over()
    worker_of(longer).run()
    assert len(longer.paths.trials()) == 5
    assert [paths.name for paths in longer.paths.trials()][:3] == before


def test_workers_at_the_same_time_share_the_trials(make_sweep: MakeSweep) -> None:
    sweep = make_sweep(trials=12, seconds=0.01)
    threads = [threading.Thread(target=worker_of(sweep).run) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(sweep.paths.trials()) == 12
    assert len({paths.signature for paths in sweep.paths.trials()}) == 12
    assert all(len(paths.attempts()) == 1 for paths in sweep.paths.trials())


def test_a_repeated_proposal_trains_nothing_and_an_exhausted_space_ends_the_sweep(
    make_sweep: MakeSweep,
) -> None:
    text = """
name = "tiny"
trials = {trials}
trainer = "tests.sweeps.tiny:trainer"
objective.metric = "val/score"
trial.training.epochs = {epochs}
space."training.optimizer" = ["adam", "sgd"]
space."training.batch_size" = [4, 16, 64]
"""
    sweep = make_sweep(trials=20, epochs=2, text=text)
    worker = worker_of(sweep)
    worker.run()
    assert sweep.is_over()
    assert len(sweep.paths.trials()) == 6
    assert len({paths.signature for paths in sweep.paths.trials()}) == 6
    assert sweep.paths.exhausted.exists()
    duplicates = [m for m in worker.study.trials() if m.duplicate_of is not None]
    assert duplicates
    originals = {m.number: m for m in worker.study.trials()}
    assert all(m.value == originals[m.duplicate_of].value for m in duplicates)


def test_enqueued_trials_come_first_and_take_other_values_from_the_configuration(
    make_sweep: MakeSweep,
) -> None:
    from tests.sweeps.conftest import EXPERIMENT

    text = EXPERIMENT + '[[enqueue]]\n"training.learning_rate" = 0.5\n"training.batch_size" = 4\n'
    sweep = make_sweep(trials=2, text=text)
    worker_of(sweep).run()
    first = read_spec(sweep.paths.trials()[0])
    assert first.values == {
        "training.learning_rate": 0.5,
        "training.batch_size": 4,
        "training.optimizer": "adam",
    }


def test_a_diverged_trial_has_the_worst_value_and_counts(make_sweep: MakeSweep) -> None:
    from tests.sweeps.conftest import EXPERIMENT

    text = (
        EXPERIMENT + '[[enqueue]]\n"training.learning_rate" = 10.0\n"training.optimizer" = "sgd"\n'
    )
    text = text.replace('"training.batch_size" = [4, 16, 64]', '"training.batch_size" = [1, 16]')
    text = text.replace("[trial.training]", "[trial.training]\nbatch_size = 1")
    sweep = make_sweep(trials=2, text=text)
    worker = worker_of(sweep)
    worker.run()
    result = read_result(sweep.paths.trials()[0])
    assert result.state is State.DIVERGED
    assert result.value == -1.0
    assert "left all bounds" in result.reason
    member = worker.study.trial(0)
    assert (member.reported, member.value) == (ReportedState.VALUE, -1.0)


def test_three_failures_of_one_cause_stop_the_sweep_and_a_new_run_tries_them_again(
    make_sweep: MakeSweep, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tests.sweeps.tiny import Tiny

    sweep = make_sweep(trials=4)
    original_fit = Tiny.fit

    def broken(*args: object, **kwargs: object) -> object:
        raise RuntimeError("a bug of the trainer's")
        yield

    monkeypatch.setattr(Tiny, "fit", broken)
    worker_of(sweep).run()
    assert states(sweep) == {"failed": 3}
    reason = "3 trials failed with the same error: RuntimeError: a bug of the trainer's"
    assert reason in stop_reason(sweep.paths)
    assert "Traceback" in sweep.paths.trials()[0].attempts()[0].traceback.read_text()

    monkeypatch.setattr(Tiny, "fit", original_fit)
    clear_stop(sweep.paths)
    worker_of(sweep).run()
    assert sweep.is_over()
    assert sum(n for state, n in states(sweep).items() if state != "failed") == 4
    failed = [p.signature for p in sweep.paths.trials() if read_result(p).state is State.FAILED]
    ended = [p.signature for p in sweep.paths.trials() if read_result(p).state is not State.FAILED]
    assert set(failed) <= set(ended)


def wait_for(condition: Callable[[], object]) -> None:
    give_up = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < give_up
        time.sleep(0.01)


def at_gate(sweep: Sweep) -> Callable[[], bool]:
    """Return a function that returns whether a worker waits at the gate."""
    return (sweep.paths.folder / "waiting").exists


def open_gate(sweep: Sweep) -> None:
    (sweep.paths.folder / "open").touch()


@contextmanager
def working(worker: Worker) -> Iterator[None]:
    """Run a worker in a thread; open its sweep's gate at the end, also after an error."""
    thread = threading.Thread(target=worker.run)
    thread.start()
    try:
        yield
    finally:
        open_gate(worker.sweep)
        thread.join()


def rows_of(sweep: Sweep) -> int:
    return sum(len(read_curve(trial)) for trial in sweep.paths.trials())


def test_a_stopped_worker_releases_its_trial_and_the_next_continues(make_sweep: MakeSweep) -> None:
    sweep = make_sweep(trials=2, pruner="none", gate_at=4)
    with working(worker_of(sweep)):
        wait_for(at_gate(sweep))
        stop_sweep(sweep.paths, "by hand")
    assert len(read_curve(sweep.paths.trials()[0])) == 4  # the epoch in progress was finished
    assert sweep.paths.trials()[0].attempts()[-1].released.exists()
    clear_stop(sweep.paths)
    worker_of(sweep).run()
    assert sweep.is_over()
    assert [row.epoch for row in read_curve(sweep.paths.trials()[0])] == list(range(1, 10))
    computed = (sweep.paths.trials()[0].folder / "computed.log").read_text().split()
    assert len(computed) == 9


def test_a_worker_without_the_trainer_claims_no_trial(
    make_sweep: MakeSweep, tmp_path: Path
) -> None:
    sweep = make_sweep(trials=1)
    claim = worker_of(sweep)._next_claim()
    claim.release()
    command = [sys.executable, "-m", "sweeps", "work", str(sweep.paths.folder), "--job", "far"]
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}  # without `tests`
    ended = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert ended.returncode == 2, ended.stderr
    assert "tests.sweeps.tiny" in ended.stderr
    assert len(claim.trial.attempts()) == 1


def test_rows_of_a_worker_that_lost_its_claim_do_not_count(make_sweep: MakeSweep) -> None:
    sweep = make_sweep(trials=1, pruner="none", gate_at=4)
    worker = worker_of(sweep)
    with working(worker):
        wait_for(at_gate(sweep))
        trial = sweep.paths.trials()[0]
        successor = claim_after(trial, 1, "successor")
        assert successor is not None
        shutil.copytree(trial.attempt(1).checkpoints, successor.attempt.checkpoints)
        write_continued(successor.attempt, 3)
        append_row(trial.attempt(1), FinishedEpoch(7, {"val/score": 99.0}, 0, 0.0))
        assert [row.epoch for row in read_curve(trial)] == [1, 2, 3]
        successor.release()
    assert sweep.is_over()
    assert worker.study.trial(0).value < 1.0
    assert [row.epoch for row in read_curve(trial)] == list(range(1, 10))


def test_a_worker_leaves_at_its_deadline(make_sweep: MakeSweep) -> None:
    sweep = make_sweep(trials=2, pruner="none", gate_at=3)
    worker = worker_of(sweep)
    with working(worker):
        wait_for(at_gate(sweep))
        worker.deadline = time.monotonic()
    assert rows_of(sweep) == 3
    assert not sweep.is_over()
    assert sweep.paths.trials()[-1].attempts()[-1].released.exists()


def test_no_epoch_begins_that_would_not_end_in_time(
    make_sweep: MakeSweep, monkeypatch: pytest.MonkeyPatch
) -> None:
    sweep = make_sweep(trials=2, pruner="none", gate_at=3)
    worker = worker_of(sweep)
    monkeypatch.setattr("sweeps.workers.trial.longest_epoch", lambda trial: 1000.0 * rows_of(sweep))
    with working(worker):
        wait_for(at_gate(sweep))
        worker.deadline = time.monotonic() + 3000  # 2200 s are in time, 3300 s are not
    assert rows_of(sweep) == 3
    assert sweep.paths.trials()[-1].attempts()[-1].released.exists()
    worker.last_epoch_seconds = 4000.0
    worker.run()
    assert rows_of(sweep) == 3  # no other trial was begun


def test_raising_the_number_of_trials_reaches_a_running_worker(make_sweep: MakeSweep) -> None:
    sweep = make_sweep(trials=1, gate_at=2)
    with working(worker_of(sweep)):
        wait_for(at_gate(sweep))
        make_sweep(trials=3, gate_at=2)
    assert len(sweep.paths.trials()) == 3
    assert open_sweep(sweep.paths).is_over()


def test_a_worker_may_have_a_limit_of_trials(make_sweep: MakeSweep) -> None:
    sweep = make_sweep(trials=5)
    worker_of(sweep, trials=2).run()
    assert len(sweep.paths.trials()) == 2


def test_the_pruning_decision_is_the_same_when_asked_again(make_sweep: MakeSweep) -> None:
    """Asked once, and again after rivals were reported that would change the decision."""
    sweep = make_sweep(trials=6)
    worker_of(sweep).run()
    study = worker_of(sweep).study
    number, _ = study.ask(sweep.resolved.space, None)
    study.report(number, 1, -0.9)
    assert study.should_prune(number, 1)
    for _ in range(8):
        rival, _ = study.ask(sweep.resolved.space, None)
        study.report(rival, 1, -1.0)
    assert worker_of(sweep).study.should_prune(number, 1)


def test_a_sweep_may_minimize(make_sweep: MakeSweep) -> None:
    from tests.sweeps.conftest import EXPERIMENT

    sweep = make_sweep(trials=8, text=EXPERIMENT.replace("val/score", "val/loss"))
    assert sweep.experiment.objective.direction == "minimize"
    worker_of(sweep).run()
    ended = [read_result(paths) for paths in sweep.paths.trials()]
    assert {result.state for result in ended} == {State.COMPLETE, State.PRUNED}
    totals = sweep_status(sweep, None).totals
    assert totals.value == min(r.value for r in ended if r.state is State.COMPLETE)


@pytest.mark.parametrize(
    ("failures", "reason"),
    [(3, "3 trials failed with the same error"), (10, "10 trials failed, the last one")],
)
def test_failures_stop_the_sweep_also_if_their_messages_differ(
    make_sweep: MakeSweep, monkeypatch: pytest.MonkeyPatch, failures: int, reason: str
) -> None:
    from tests.sweeps.tiny import Tiny

    def broken(*args: object, **kwargs: object) -> object:
        count = next(counter)
        message = f"a path that differs: /tmp/{count}"
        if failures == 3:
            raise RuntimeError(message)
        # Raised in another line each time.
        exec(compile(f"{chr(10) * count}raise RuntimeError(message)", "bug", "exec"))
        yield

    counter = itertools.count()
    monkeypatch.setattr(Tiny, "fit", broken)
    sweep = make_sweep(trials=20)
    worker_of(sweep).run()
    assert len(sweep.paths.trials()) == failures
    assert stop_reason(sweep.paths).startswith(reason)


def test_failed_trials_may_be_tried_again_more_than_once(
    make_sweep: MakeSweep, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tests.sweeps.tiny import Tiny

    original_fit, broken = Tiny.fit, {0, 3}

    def fit(*args: object, **kwargs: object) -> object:
        number = int(args[2].parents[2].name[:4])
        if number in broken:
            raise RuntimeError("a bug")
        yield from original_fit(*args, **kwargs)

    monkeypatch.setattr(Tiny, "fit", fit)
    sweep = make_sweep(trials=6)
    for until in (2, 4, 6):
        worker = worker_of(sweep, trials=until)
        worker.run()
        clear_stop(sweep.paths)
    worker_of(sweep).run()
    assert sweep.is_over()
    assert not sweep.paths.exhausted.exists()
    assert states(sweep)["failed"] == 2
    assert sum(states(sweep).values()) == 8
    assert not [m for m in worker.study.trials() if m.duplicate_of is not None]


def test_a_trial_whose_trainer_returns_early_fails_and_is_not_retried(
    make_sweep: MakeSweep, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tests.sweeps.tiny import Tiny

    original_fit = Tiny.fit

    def fit(*args: object, **kwargs: object) -> object:
        yield from itertools.islice(original_fit(*args, **kwargs), 2)

    monkeypatch.setattr(Tiny, "fit", fit)
    sweep = make_sweep(trials=2, pruner="none")
    worker_of(sweep).run()
    assert "the trainer returned after 2 of 9 epochs" in stop_reason(sweep.paths)
    assert all(len(trial.attempts()) == 1 for trial in sweep.paths.trials())


def test_a_record_that_cannot_be_written_ends_the_worker_and_not_the_trial(
    make_sweep: MakeSweep, monkeypatch: pytest.MonkeyPatch
) -> None:
    from sweeps.workers import trial as running

    append = running.append_row

    def broken(attempt: AttemptPaths, epoch: FinishedEpoch) -> None:
        if epoch.epoch == 3:
            raise OSError(errno.EIO, "Input/output error")
        append(attempt, epoch)

    sweep = make_sweep(trials=1, pruner="none")
    monkeypatch.setattr(running, "append_row", broken)
    with pytest.raises(OSError, match="Input/output error"):
        worker_of(sweep).run()
    monkeypatch.undo()
    trial = sweep.paths.trials()[0]
    trial.attempts()[-1].released.touch()  # this process runs on, unlike a worker's
    worker_of(sweep).run()
    assert states(sweep) == {"complete": 1}
    assert [row.epoch for row in read_curve(trial)] == list(range(1, 10))


def test_the_result_of_an_owner_that_lost_its_claim_counts_if_it_is_the_first(
    make_sweep: MakeSweep, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is written, and the checkpoints trimmed, between two reads by the worker after it."""
    from sweeps.workers import trial as running

    sweep = make_sweep(trials=1, pruner="none")
    worker_of(sweep).run()
    (trial,) = sweep.paths.trials()
    before = [file for file in trial.folder.rglob("*.pt") if file.name == "best.pt"]
    worker, results = worker_of(sweep), iter([None])
    an_open_trial = replace(worker.study.trial(trial.number), reported=ReportedState.NOTHING)
    monkeypatch.setattr(running, "read_result", lambda paths: next(results, read_result(paths)))
    monkeypatch.setattr(worker.study, "trial", lambda number: an_open_trial)
    claim = claim_after(trial, 1, "successor")
    running.run_trial(running.TrialRun(sweep, worker.study, claim, lambda seconds: False))
    assert list(trial.folder.rglob("*.pt")) == before
    assert [row.epoch for row in read_curve(trial)] == list(range(1, 10))
    assert len((trial.folder / "computed.log").read_text().split()) == 9


def test_an_orphan_that_another_worker_has_just_claimed_stays_with_it(
    make_sweep: MakeSweep, monkeypatch: pytest.MonkeyPatch
) -> None:
    sweep = make_sweep(trials=1, pruner="none")
    worker_of(sweep)._next_claim().release()
    quick, slow, claims = worker_of(sweep), worker_of(sweep), []

    def claim_by_quick(worker: Worker, trial: TrialPaths) -> bool:
        if worker is slow and not claims:  # between finding the orphan and claiming it
            claims.append(quick._claim_orphan())
        return True

    monkeypatch.setattr(Worker, "_can_run", claim_by_quick)
    assert slow._claim_orphan() is None
    assert claims[0].is_held()


def test_an_error_in_the_figure_fails_no_trial(
    make_sweep: MakeSweep, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tests.sweeps.tiny import Tiny

    def broken(*args: object) -> None:
        raise RuntimeError("no font")

    monkeypatch.setattr(Tiny, "write_figure", broken)
    sweep = make_sweep(trials=2, pruner="none")
    worker_of(sweep).run()
    assert states(sweep) == {"complete": 2}


def test_a_trial_whose_proposal_was_discarded_is_settled_and_replaced(
    make_sweep: MakeSweep,
) -> None:
    """A process that was stopped leaves this: a folder made after its proposal was discarded."""
    sweep = make_sweep(trials=2, pruner="none")
    worker = worker_of(sweep)
    claim = Proposer(sweep, worker.study, "stopped", 1).propose()
    worker.study.discard(claim.trial.number)
    claim.release()
    worker.run()
    assert sweep.is_over()
    assert states(sweep) == {"failed": 1, "complete": 2}


def test_a_discarded_proposal_does_not_prevent_failed_trials_from_being_tried_again(
    make_sweep: MakeSweep, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A discarded proposal is reported as failed, too, but is not tried again."""
    from tests.sweeps.tiny import Tiny

    sweep = make_sweep(trials=3, pruner="none")
    worker = worker_of(sweep)
    number, _ = worker.study.ask(sweep.resolved.space, None)
    worker.study.discard(number)
    original_fit = Tiny.fit

    def broken(*args: object, **kwargs: object) -> object:
        raise RuntimeError("a bug")
        yield

    monkeypatch.setattr(Tiny, "fit", broken)
    worker_of(sweep, trials=1).run()
    monkeypatch.setattr(Tiny, "fit", original_fit)
    clear_stop(sweep.paths)
    worker_of(sweep).run()
    assert sweep.is_over()
    assert states(sweep) == {"failed": 1, "complete": 3}


def test_a_sweep_that_found_nothing_new_can_be_resumed(make_sweep: MakeSweep) -> None:
    sweep = make_sweep(trials=1)
    worker_of(sweep).run()
    sweep.paths.exhausted.write_text('{"reason": "nothing new"}')
    longer = make_sweep(trials=2)
    clear_stop(longer.paths)
    worker_of(longer).run()
    assert len(longer.paths.trials()) == 2


@pytest.mark.parametrize("recreated", [False, True])
def test_a_trial_whose_folder_was_removed_is_dropped_and_replaced(
    recreated: bool, make_sweep: MakeSweep, capsys: pytest.CaptureFixture[str]
) -> None:
    sweep = make_sweep(trials=3, gate_at=2)
    thread = threading.Thread(target=worker_of(sweep).run)
    thread.start()
    while not (sweep.paths.folder / "waiting").exists():
        time.sleep(0.01)
    (removed,) = sweep.paths.trials()
    shutil.rmtree(removed.folder)
    if recreated:  # by a trainer that creates its checkpoint folder if that is missing
        removed.attempt(1).checkpoints.mkdir(parents=True)
        removed.folder.joinpath("computed.log").touch()
    (sweep.paths.folder / "open").touch()
    thread.join()
    assert sweep.is_over()
    assert [trial.number for trial in sweep.paths.trials()] == [1, 2, 3]
    assert all(state_of(trial) is not State.FAILED for trial in sweep.paths.trials())


def test_a_proposal_under_a_lost_lock_leaves_nothing_and_is_made_again(
    make_sweep: MakeSweep, monkeypatch: pytest.MonkeyPatch
) -> None:
    sweep = make_sweep(trials=2, epochs=1)
    original, renewals = Turn.renew, itertools.count(1)

    def renew(turn: Turn) -> None:
        if next(renewals) == 2:  # just before the folder gets its name
            raise LockLostError("passed over")
        original(turn)

    monkeypatch.setattr(Turn, "renew", renew)
    worker_of(sweep).run()
    assert [trial.number for trial in sweep.paths.trials()] == [1, 2]
    assert not list(sweep.paths.trials_folder.glob(".draft-*"))
    assert worker_of(sweep).study.trial(0).reported is ReportedState.FAILED
    assert sweep.is_over()
