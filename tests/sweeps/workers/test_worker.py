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
from sweeps.monitor.status import sweep_status
from sweeps.search.study import ReportedState
from sweeps.storage.paths import AttemptPaths, TrialPaths
from sweeps.storage.sweep import Sweep, clear_stop, open_sweep, stop_reason, stop_sweep
from sweeps.storage.trial_record import (
    EpochRow,
    State,
    append_row,
    read_curve,
    read_result,
    read_spec,
    state_of,
    write_continued,
)
from sweeps.workers.claims import claim_after
from sweeps.workers.propose import Proposer
from sweeps.workers.worker import Worker
from tests.sweeps.conftest import MakeSweep, worker_of


def states(sweep: object) -> Counter[str]:
    return Counter(read_result(paths).state for paths in sweep.paths.trials())


def test_a_sweep_ends_with_the_trials_asked_for(make_sweep: MakeSweep) -> None:
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


def test_workers_side_by_side_share_the_work(make_sweep: MakeSweep) -> None:
    sweep = make_sweep(trials=12, seconds=0.01)
    threads = [threading.Thread(target=worker_of(sweep).run) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(sweep.paths.trials()) == 12
    assert len({paths.signature for paths in sweep.paths.trials()}) == 12
    assert all(len(paths.attempts()) == 1 for paths in sweep.paths.trials())


def test_a_proposal_repeated_trains_nothing_and_a_used_up_space_ends_the_sweep(
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
    copies = [m for m in worker.study.trials() if m.duplicate_of is not None]
    assert copies
    originals = {m.number: m for m in worker.study.trials()}
    assert all(m.value == originals[m.duplicate_of].value for m in copies)


def test_what_is_enqueued_comes_first_and_takes_the_rest_from_the_trial(
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


def test_a_diverged_trial_is_worth_the_worst_and_counts(make_sweep: MakeSweep) -> None:
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


def test_three_failures_alike_stop_the_sweep_and_running_again_tries_them_again(
    make_sweep: MakeSweep, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tests.sweeps.tiny import Tiny

    sweep = make_sweep(trials=4)
    working = Tiny.fit

    def broken(*given: object, **named: object) -> object:
        raise RuntimeError("a bug of the trainer's")
        yield

    monkeypatch.setattr(Tiny, "fit", broken)
    worker_of(sweep).run()
    assert states(sweep) == {"failed": 3}
    assert "3 trials failed alike: RuntimeError: a bug of the trainer's" in stop_reason(sweep.paths)
    assert "Traceback" in sweep.paths.trials()[0].attempts()[0].traceback.read_text()

    monkeypatch.setattr(Tiny, "fit", working)
    clear_stop(sweep.paths)
    worker_of(sweep).run()
    assert sweep.is_over()
    assert sum(n for state, n in states(sweep).items() if state != "failed") == 4
    failed = [p.signature for p in sweep.paths.trials() if read_result(p).state is State.FAILED]
    again = [p.signature for p in sweep.paths.trials() if read_result(p).state is not State.FAILED]
    assert set(failed) <= set(again)


def wait_for(condition: Callable[[], object]) -> None:
    give_up = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < give_up
        time.sleep(0.01)


def at_gate(sweep: Sweep) -> Callable[[], bool]:
    """Whether the worker has begun the epoch that waits for the gate."""
    return (sweep.paths.folder / "waiting").exists


def open_gate(sweep: Sweep) -> None:
    (sweep.paths.folder / "open").touch()


@contextmanager
def working(worker: Worker) -> Iterator[None]:
    """A worker in a thread; its sweep's gate is opened at the end, whatever happened."""
    thread = threading.Thread(target=worker.run)
    thread.start()
    try:
        yield
    finally:
        open_gate(worker.sweep)
        thread.join()


def rows_of(sweep: Sweep) -> int:
    return sum(len(read_curve(trial)) for trial in sweep.paths.trials())


def test_a_stopped_worker_gives_its_trial_back_and_the_next_goes_on(make_sweep: MakeSweep) -> None:
    sweep = make_sweep(trials=2, pruner="none", gate_at=4)
    with working(worker_of(sweep)):
        wait_for(at_gate(sweep))
        stop_sweep(sweep.paths, "by hand")
    assert len(read_curve(sweep.paths.trials()[0])) == 4  # the epoch under way was finished
    assert sweep.paths.trials()[0].attempts()[-1].released.exists()
    clear_stop(sweep.paths)
    worker_of(sweep).run()
    assert sweep.is_over()
    assert [row.epoch for row in read_curve(sweep.paths.trials()[0])] == list(range(1, 10))
    computed = (sweep.paths.trials()[0].folder / "computed.log").read_text().split()
    assert len(computed) == 9


def test_a_worker_that_has_no_trainer_takes_no_trial(make_sweep: MakeSweep, tmp_path: Path) -> None:
    sweep = make_sweep(trials=1)
    claim = worker_of(sweep)._next_claim()
    claim.release()
    command = [sys.executable, "-m", "sweeps", "work", str(sweep.paths.folder), "--job", "far"]
    apart = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}  # no `tests` from here
    ended = subprocess.run(command, cwd=tmp_path, env=apart, capture_output=True, text=True)
    assert ended.returncode == 2, ended.stderr
    assert "tests.sweeps.tiny" in ended.stderr
    assert len(claim.trial.attempts()) == 1


def test_a_robbed_worker_writes_what_nobody_reads(make_sweep: MakeSweep) -> None:
    sweep = make_sweep(trials=1, pruner="none", gate_at=4)
    worker = worker_of(sweep)
    with working(worker):
        wait_for(at_gate(sweep))
        trial = sweep.paths.trials()[0]
        thief = claim_after(trial, 1, "thief")
        assert thief is not None
        shutil.copytree(trial.attempt(1).checkpoints, thief.attempt.checkpoints)
        write_continued(thief.attempt, 3)
        append_row(trial.attempt(1), EpochRow(7, {"val/score": 99.0}, 0, 0.0))
        assert [row.epoch for row in read_curve(trial)] == [1, 2, 3]
        thief.release()
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
        worker.deadline = time.monotonic() + 3000  # 2200 s were in time, 3300 s are not
    assert rows_of(sweep) == 3
    assert sweep.paths.trials()[-1].attempts()[-1].released.exists()
    worker.last_epoch_seconds = 4000.0
    worker.run()
    assert rows_of(sweep) == 3  # nor was another trial begun


def test_raising_the_number_of_trials_reaches_a_worker_at_work(make_sweep: MakeSweep) -> None:
    sweep = make_sweep(trials=1, gate_at=2)
    with working(worker_of(sweep)):
        wait_for(at_gate(sweep))
        make_sweep(trials=3, gate_at=2)
    assert len(sweep.paths.trials()) == 3
    assert open_sweep(sweep.paths).is_over()


def test_a_worker_may_be_given_a_number_of_trials(make_sweep: MakeSweep) -> None:
    sweep = make_sweep(trials=5)
    worker_of(sweep, trials=2).run()
    assert len(sweep.paths.trials()) == 2


def test_the_pruning_decision_is_the_same_when_asked_again(make_sweep: MakeSweep) -> None:
    """Asked before anybody acted on it, and again after rivals came that would change it."""
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


@pytest.mark.parametrize(("failures", "said"), [(3, "3 trials failed alike"), (10, "10 trials")])
def test_failures_stop_the_sweep_whatever_they_say(
    make_sweep: MakeSweep, monkeypatch: pytest.MonkeyPatch, failures: int, said: str
) -> None:
    from tests.sweeps.tiny import Tiny

    def broken(*given: object, **named: object) -> object:
        count = next(counter)
        message = f"a path that differs: /tmp/{count}"
        if failures == 3:
            raise RuntimeError(message)
        exec(
            compile(f"{chr(10) * count}raise RuntimeError(message)", "bug", "exec")
        )  # another line
        yield

    counter = itertools.count()
    monkeypatch.setattr(Tiny, "fit", broken)
    sweep = make_sweep(trials=20)
    worker_of(sweep).run()
    assert len(sweep.paths.trials()) == failures
    assert stop_reason(sweep.paths).startswith(said)


def test_failures_may_be_forgiven_more_than_once(
    make_sweep: MakeSweep, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tests.sweeps.tiny import Tiny

    working_fit, broken = Tiny.fit, {0, 3}

    def fit(*given: object, **named: object) -> object:
        number = int(given[2].parents[2].name[:4])
        if number in broken:
            raise RuntimeError("a bug")
        yield from working_fit(*given, **named)

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


def test_a_trainer_that_ends_early_fails_and_does_not_go_round(
    make_sweep: MakeSweep, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tests.sweeps.tiny import Tiny

    working_fit = Tiny.fit

    def fit(*given: object, **named: object) -> object:
        yield from itertools.islice(working_fit(*given, **named), 2)

    monkeypatch.setattr(Tiny, "fit", fit)
    sweep = make_sweep(trials=2, pruner="none")
    worker_of(sweep).run()
    assert "the trainer ended after 2 of 9 epochs" in stop_reason(sweep.paths)
    assert all(len(trial.attempts()) == 1 for trial in sweep.paths.trials())


def test_a_record_that_cannot_be_written_ends_the_worker_and_not_the_trial(
    make_sweep: MakeSweep, monkeypatch: pytest.MonkeyPatch
) -> None:
    from sweeps.workers import trial as running

    append = running.append_row

    def broken(attempt: AttemptPaths, epoch: EpochRow) -> None:
        if epoch.epoch == 3:
            raise OSError(errno.EIO, "Input/output error")
        append(attempt, epoch)

    sweep = make_sweep(trials=1, pruner="none")
    monkeypatch.setattr(running, "append_row", broken)
    with pytest.raises(OSError, match="Input/output error"):
        worker_of(sweep).run()
    monkeypatch.undo()
    trial = sweep.paths.trials()[0]
    trial.attempts()[-1].released.touch()  # this process lives on, as a worker would not
    worker_of(sweep).run()
    assert states(sweep) == {"complete": 1}
    assert [row.epoch for row in read_curve(trial)] == list(range(1, 10))


def test_an_owner_that_was_robbed_and_ends_all_the_same_has_the_last_word(
    make_sweep: MakeSweep, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its result, and the trimming after it, fall between two looks of who took the trial."""
    from sweeps.workers import trial as running

    sweep = make_sweep(trials=1, pruner="none")
    worker_of(sweep).run()
    (trial,) = sweep.paths.trials()
    before = [file for file in trial.folder.rglob("*.pt") if file.name == "best.pt"]
    worker, looks = worker_of(sweep), iter([None])
    an_open_trial = replace(worker.study.trial(trial.number), reported=ReportedState.NOTHING)
    monkeypatch.setattr(running, "read_result", lambda paths: next(looks, read_result(paths)))
    monkeypatch.setattr(worker.study, "trial", lambda number: an_open_trial)
    claim = claim_after(trial, 1, "robber")
    running.run_trial(running.TrialRun(sweep, worker.study, claim, lambda seconds: False))
    assert list(trial.folder.rglob("*.pt")) == before
    assert [row.epoch for row in read_curve(trial)] == list(range(1, 10))
    assert len((trial.folder / "computed.log").read_text().split()) == 9


def test_an_orphan_that_somebody_took_meanwhile_is_not_taken_from_him(
    make_sweep: MakeSweep, monkeypatch: pytest.MonkeyPatch
) -> None:
    sweep = make_sweep(trials=1, pruner="none")
    worker_of(sweep)._next_claim().release()
    quick, slow, taken = worker_of(sweep), worker_of(sweep), []

    def be_overtaken(worker: Worker, trial: TrialPaths) -> bool:
        if worker is slow and not taken:  # between its look at the trial and its claim
            taken.append(quick._claim_orphan())
        return True

    monkeypatch.setattr(Worker, "_can_run", be_overtaken)
    assert slow._claim_orphan() is None
    assert taken[0].is_held()


def test_a_picture_that_fails_fails_nothing(
    make_sweep: MakeSweep, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tests.sweeps.tiny import Tiny

    def broken(*given: object) -> None:
        raise RuntimeError("no font")

    monkeypatch.setattr(Tiny, "write_figure", broken)
    sweep = make_sweep(trials=2, pruner="none")
    worker_of(sweep).run()
    assert states(sweep) == {"complete": 2}


def test_a_trial_the_study_gave_up_is_settled_and_replaced(make_sweep: MakeSweep) -> None:
    """What a frozen asker leaves: a folder made after its proposal was voided."""
    sweep = make_sweep(trials=2, pruner="none")
    worker = worker_of(sweep)
    asker = Proposer(sweep, worker.study, "frozen", 1)
    claim = asker.propose()
    worker.study.discard(claim.trial.number)
    claim.release()
    worker.run()
    assert sweep.is_over()
    assert states(sweep) == {"failed": 1, "complete": 2}


def test_a_refused_proposal_does_not_hinder_forgiveness(
    make_sweep: MakeSweep, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A voided proposal is told as failed too, but nobody wants it again."""
    from tests.sweeps.tiny import Tiny

    sweep = make_sweep(trials=3, pruner="none")
    worker = worker_of(sweep)
    number, _ = worker.study.ask(sweep.resolved.space, None)
    worker.study.discard(number)
    working_fit = Tiny.fit

    def broken(*given: object, **named: object) -> object:
        raise RuntimeError("a bug")
        yield

    monkeypatch.setattr(Tiny, "fit", broken)
    worker_of(sweep, trials=1).run()
    monkeypatch.setattr(Tiny, "fit", working_fit)
    clear_stop(sweep.paths)
    worker_of(sweep).run()
    assert sweep.is_over()
    assert states(sweep) == {"failed": 1, "complete": 3}


def test_proposals_that_ran_out_of_luck_do_not_end_a_sweep_for_good(make_sweep: MakeSweep) -> None:
    sweep = make_sweep(trials=1)
    worker_of(sweep).run()
    sweep.paths.exhausted.write_text('{"reason": "nothing new"}')
    longer = make_sweep(trials=2)
    clear_stop(longer.paths)
    worker_of(longer).run()
    assert len(longer.paths.trials()) == 2


@pytest.mark.parametrize("recreated", [False, True])
def test_a_trial_whose_folder_was_removed_is_let_go_and_another_takes_its_place(
    recreated: bool, make_sweep: MakeSweep, capsys: pytest.CaptureFixture[str]
) -> None:
    sweep = make_sweep(trials=3, gate_at=2)
    thread = threading.Thread(target=worker_of(sweep).run)
    thread.start()
    while not (sweep.paths.folder / "waiting").exists():
        time.sleep(0.01)
    (removed,) = sweep.paths.trials()
    shutil.rmtree(removed.folder)
    if recreated:  # by a trainer that makes the folder of its checkpoints where it is missing
        removed.attempt(1).checkpoints.mkdir(parents=True)
        removed.folder.joinpath("computed.log").touch()
    (sweep.paths.folder / "open").touch()
    thread.join()
    assert sweep.is_over()
    assert [trial.number for trial in sweep.paths.trials()] == [1, 2, 3]
    assert all(state_of(trial) is not State.FAILED for trial in sweep.paths.trials())


def test_an_asker_that_was_passed_over_leaves_nothing_and_asks_again(
    make_sweep: MakeSweep, monkeypatch: pytest.MonkeyPatch
) -> None:
    sweep = make_sweep(trials=2, epochs=1)
    original, renewals = Turn.renew, itertools.count(1)

    def renew(turn: Turn) -> None:
        if next(renewals) == 2:  # just before the folder takes its name
            raise LockLostError("passed over")
        original(turn)

    monkeypatch.setattr(Turn, "renew", renew)
    worker_of(sweep).run()
    assert [trial.number for trial in sweep.paths.trials()] == [1, 2]
    assert not list(sweep.paths.trials_folder.glob(".draft-*"))
    assert worker_of(sweep).study.trial(0).reported is ReportedState.FAILED
    assert sweep.is_over()
