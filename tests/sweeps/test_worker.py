import json
import threading
import time
from collections import Counter
from pathlib import Path

import pytest

from sweeps.claims import take
from sweeps.record import (
    Result,
    Row,
    State,
    append_row,
    read_curve,
    read_result,
    read_trial,
    write_continued,
)
from sweeps.study import Told
from sweeps.sweep import open_sweep, resume, stop, stop_reason
from tests.sweeps.conftest import MakeSweep, worker_of


def states(sweep: object) -> Counter[str]:
    return Counter(read_result(paths).state for paths in sweep.paths.trials())


def test_a_sweep_ends_with_the_trials_asked_for(make_sweep: MakeSweep) -> None:
    sweep = make_sweep(trials=8)
    worker_of(sweep).work()
    assert sweep.is_over()
    assert sum(states(sweep).values()) == 8
    assert states(sweep)["pruned"] > 0


def test_raising_the_number_of_trials_extends_it(make_sweep: MakeSweep) -> None:
    worker_of(make_sweep(trials=3)).work()
    before = [paths.name for paths in make_sweep(trials=3).paths.trials()]
    longer = make_sweep(trials=5)
    assert not longer.is_over()
    worker_of(longer).work()
    assert len(longer.paths.trials()) == 5
    assert [paths.name for paths in longer.paths.trials()][:3] == before


def test_workers_side_by_side_share_the_work(make_sweep: MakeSweep) -> None:
    sweep = make_sweep(trials=12, seconds=0.01)
    threads = [threading.Thread(target=worker_of(sweep).work) for _ in range(3)]
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
    worker.work()
    assert sweep.is_over()
    assert len(sweep.paths.trials()) == 6
    assert len({paths.signature for paths in sweep.paths.trials()}) == 6
    assert sweep.paths.exhausted.exists()
    copies = [m for m in worker.study.members() if m.duplicate_of is not None]
    assert copies
    originals = {m.number: m for m in worker.study.members()}
    assert all(m.value == originals[m.duplicate_of].value for m in copies)


def test_what_is_enqueued_comes_first_and_takes_the_rest_from_the_trial(
    make_sweep: MakeSweep,
) -> None:
    from tests.sweeps.conftest import EXPERIMENT

    text = EXPERIMENT + '[[enqueue]]\n"training.learning_rate" = 0.5\n"training.batch_size" = 4\n'
    sweep = make_sweep(trials=2, text=text)
    worker_of(sweep).work()
    first = read_trial(sweep.paths.trials()[0])
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
    worker.work()
    result = read_result(sweep.paths.trials()[0])
    assert result.state is State.DIVERGED
    assert result.value == -1.0
    assert "left all bounds" in result.reason
    member = worker.study.member(0)
    assert (member.told, member.value) == (Told.VALUE, -1.0)


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
    worker_of(sweep).work()
    assert states(sweep) == {"failed": 3}
    assert "3 trials failed alike: RuntimeError: a bug of the trainer's" in stop_reason(sweep.paths)
    assert "Traceback" in sweep.paths.trials()[0].failure.read_text()

    monkeypatch.setattr(Tiny, "fit", working)
    resume(sweep.paths)
    worker_of(sweep).work()
    assert sweep.is_over()
    assert sum(n for state, n in states(sweep).items() if state != "failed") == 4
    failed = [p.signature for p in sweep.paths.trials() if read_result(p).state is State.FAILED]
    again = [p.signature for p in sweep.paths.trials() if read_result(p).state is not State.FAILED]
    assert set(failed) <= set(again)


def test_a_stopped_worker_gives_its_trial_back_and_the_next_goes_on(make_sweep: MakeSweep) -> None:
    sweep = make_sweep(trials=2, seconds=0.05, pruner="none")
    thread = threading.Thread(target=worker_of(sweep).work)
    thread.start()
    while not (trials := sweep.paths.trials()) or not read_curve(trials[0]):
        time.sleep(0.01)
    stop(sweep.paths, "by hand")
    thread.join()
    reached = len(read_curve(sweep.paths.trials()[0]))
    assert 0 < reached < 9
    assert sweep.paths.trials()[0].attempts()[-1].released.exists()
    resume(sweep.paths)
    worker_of(sweep).work()
    assert sweep.is_over()
    assert [row.epoch for row in read_curve(sweep.paths.trials()[0])] == list(range(1, 10))
    computed = (sweep.paths.trials()[0].folder / "computed.log").read_text().split()
    assert len(computed) == 9


def test_a_robbed_worker_writes_what_nobody_reads(make_sweep: MakeSweep) -> None:
    sweep = make_sweep(trials=1, seconds=0.05, pruner="none")
    worker = worker_of(sweep)
    thread = threading.Thread(target=worker.work)
    thread.start()
    while not (trials := sweep.paths.trials()) or len(read_curve(trials[0])) < 2:
        time.sleep(0.01)
    thief = take(trials[0], 1, "thief")
    assert thief is not None
    write_continued(thief.attempt, 2)
    append_row(trials[0].attempt(1), Row(7, {"val/score": 99.0}, 0, 0.0))
    assert 7 not in [row.epoch for row in read_curve(trials[0])]
    assert [row.epoch for row in read_curve(trials[0])][:2] == [1, 2]
    thief.release()
    thread.join()
    assert sweep.is_over()
    assert worker.study.member(0).value < 1.0
    assert [row.epoch for row in read_curve(trials[0])] == list(range(1, 10))


def test_a_worker_leaves_at_its_deadline(make_sweep: MakeSweep) -> None:
    sweep = make_sweep(trials=50, seconds=0.05, pruner="none")
    worker = worker_of(sweep, deadline=time.monotonic() + 0.3)
    worker.work()
    assert not sweep.is_over()
    assert sweep.paths.trials()[-1].attempts()[-1].released.exists()


def test_a_worker_may_be_given_a_number_of_trials(make_sweep: MakeSweep) -> None:
    sweep = make_sweep(trials=5)
    worker_of(sweep, trials=2).work()
    assert len(sweep.paths.trials()) == 2


def test_the_verdict_is_the_same_when_asked_again(make_sweep: MakeSweep) -> None:
    sweep = make_sweep(trials=8)
    worker = worker_of(sweep)
    worker.work()
    pruned = [p for p in sweep.paths.trials() if read_result(p).state is State.PRUNED]
    for paths in pruned:
        epoch = read_result(paths).epochs
        assert worker.study.verdict(paths.number, epoch)
        assert worker_of(sweep).study.verdict(paths.number, epoch)


def test_a_result_is_read_as_it_was_written(make_sweep: MakeSweep) -> None:
    sweep = make_sweep(trials=1)
    worker_of(sweep).work()
    paths = sweep.paths.trials()[0]
    content = json.loads(paths.result.read_text())
    assert read_result(paths) == Result(**content | {"state": State(content["state"])})
    assert open_sweep(sweep.paths) == sweep
