import json
import multiprocessing
from pathlib import Path

import optuna
import pytest
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend

from sweeps.filesystem import atomic
from sweeps.filesystem.lock import Lock
from sweeps.search.journal import Journal


def journal_at(folder: Path) -> Journal:
    return Journal(folder / "study.jsonl", Lock(folder / "lock"))


def test_entries_are_read_from_any_number_on(tmp_path: Path) -> None:
    writer, reader = journal_at(tmp_path), journal_at(tmp_path)
    writer.append_logs([{"n": 0}, {"n": 1}])
    assert [entry["n"] for entry in reader.read_logs(0)] == [0, 1]
    writer.append_logs([{"n": 2}])
    assert [entry["n"] for entry in reader.read_logs(2)] == [2]
    assert [entry["n"] for entry in reader.read_logs(1)] == [1, 2]
    assert list(reader.read_logs(3)) == []


def test_a_partial_line_is_ignored_and_the_next_append_is_complete(tmp_path: Path) -> None:
    journal = journal_at(tmp_path)
    journal.append_logs([{"n": 0}])
    with (tmp_path / "study.jsonl").open("a") as file:
        file.write('{"n": 1, "half')
    assert [entry["n"] for entry in journal.read_logs(0)] == [0]
    journal.append_logs([{"n": 2}])
    assert [entry["n"] for entry in journal.read_logs(0)] == [0, 2]


def test_optunas_own_backend_cannot_read_a_journal_after_a_partial_line(tmp_path: Path) -> None:
    """The reason for this journal; if this test fails, Optuna has fixed its backend."""
    path = tmp_path / "study.jsonl"
    backend = JournalFileBackend(str(path))
    backend.append_logs([{"n": 0}])
    with path.open("a") as file:
        file.write('{"n": 1, "half')
    backend.append_logs([{"n": 2}])
    backend.append_logs([{"n": 3}])
    with pytest.raises(json.JSONDecodeError, match=r"Expecting|Unterminated"):
        list(JournalFileBackend(str(path)).read_logs(0))


def test_stock_optuna_reads_and_writes_the_same_file(tmp_path: Path) -> None:
    ours = optuna.create_study(study_name="s", storage=JournalStorage(journal_at(tmp_path)))
    ours.optimize(lambda trial: trial.suggest_float("x", 0, 1), n_trials=3)
    stock = JournalStorage(JournalFileBackend(str(tmp_path / "study.jsonl")))
    theirs = optuna.load_study(study_name="s", storage=stock)
    theirs.optimize(lambda trial: trial.suggest_float("x", 0, 1), n_trials=2)
    assert len(ours.get_trials()) == 5
    assert [t.values for t in ours.get_trials()] == [t.values for t in theirs.get_trials()]


def _append(folder: Path) -> None:
    journal = journal_at(folder)
    for number in range(50):
        journal.append_logs([{"n": number}])


def test_processes_that_append_at_the_same_time_lose_no_entries(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=_append, args=(tmp_path,)) for _ in range(4)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    entries = [entry["n"] for entry in journal_at(tmp_path).read_logs(0)]
    assert sorted(entries) == sorted(list(range(50)) * 4)


def test_a_holder_that_was_stopped_past_its_turn_overwrites_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stopped, successor = journal_at(tmp_path), journal_at(tmp_path)
    stopped.append_logs([{"n": 0}])
    write_all = atomic.write_all

    def append_before_write(*args: object, **kwargs: object) -> int:
        monkeypatch.undo()
        successor._lock = Lock(tmp_path / "the next turn")  # the holder was passed over
        successor.append_logs([{"n": 1, "long": "x" * 100}])
        return write_all(*args, **kwargs)

    monkeypatch.setattr(atomic, "write_all", append_before_write)
    stopped.append_logs([{"n": 2}])
    assert sorted(entry["n"] for entry in journal_at(tmp_path).read_logs(0)) == [0, 1, 2]
