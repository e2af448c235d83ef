import errno
import json
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from sweeps.filesystem.lock import Lock, LockBusyError, LockLostError


def _count_up(folder: Path, times: int) -> None:
    lock, counter = Lock(folder / "lock"), folder / "counter"
    for _ in range(times):
        with lock.hold() as turn:
            value = int(counter.read_text())
            turn.check()
            counter.write_text(str(value + 1))


def test_only_one_process_holds_the_lock_at_a_time(tmp_path: Path) -> None:
    (tmp_path / "counter").write_text("0")
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=_count_up, args=(tmp_path, 50)) for _ in range(4)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert (tmp_path / "counter").read_text() == "200"
    assert len(list((tmp_path / "lock").iterdir())) <= 4


def test_a_killed_holder_on_this_host_is_passed_over_at_once(tmp_path: Path) -> None:
    script = (
        "import sys, time; from pathlib import Path; from sweeps.filesystem.lock import Lock\n"
        "held = Lock(Path(sys.argv[1])).hold(); held.__enter__()\n"
        "print('held', flush=True); time.sleep(60)"
    )
    holder = subprocess.Popen(
        [sys.executable, "-c", script, str(tmp_path)], stdout=subprocess.PIPE, text=True
    )
    assert holder.stdout is not None
    assert holder.stdout.readline() == "held\n"
    lock = Lock(tmp_path, stale_after=1000, patience=0.3)
    with pytest.raises(LockBusyError, match="waited"), lock.hold():
        pass
    os.kill(holder.pid, signal.SIGKILL)
    holder.wait()
    holder.stdout.close()
    with lock.hold() as turn:
        turn.check()


def test_a_running_holder_on_this_host_is_never_passed_over_but_a_stopped_one_is(
    tmp_path: Path,
) -> None:
    script = (
        "import sys, time; from pathlib import Path; from sweeps.filesystem.lock import Lock\n"
        "held = Lock(Path(sys.argv[1])).hold(); held.__enter__()\n"
        "print('held', flush=True); time.sleep(60)"
    )
    holder = subprocess.Popen(
        [sys.executable, "-c", script, str(tmp_path)], stdout=subprocess.PIPE, text=True
    )
    holder.stdout.readline()
    lock = Lock(tmp_path, stale_after=0.1, patience=0.5)
    with pytest.raises(LockBusyError, match="waited"), lock.hold():
        pass
    os.kill(holder.pid, signal.SIGSTOP)
    with lock.hold() as turn:
        turn.check()
    holder.kill()
    holder.communicate()


def test_a_holder_on_another_host_that_renews_its_turn_is_not_passed_over(tmp_path: Path) -> None:
    lock = Lock(tmp_path, stale_after=0.3, patience=1.0)
    holding = lock.hold()  # keep a reference: a context manager without one releases the turn
    elsewhere = holding.__enter__()
    (tmp_path / "1").write_text(json.dumps({"machine": "elsewhere", "pid": 1, "started": "1"}))
    ended = threading.Event()

    def renew() -> None:
        while not ended.wait(0.05):
            elsewhere.renew()

    thread = threading.Thread(target=renew)
    thread.start()
    with pytest.raises(LockBusyError, match="waited"), lock.hold():
        pass
    ended.set()
    thread.join()


def test_a_silent_holder_on_another_host_is_passed_over_and_finds_out(tmp_path: Path) -> None:
    lock = Lock(tmp_path, stale_after=0.2, patience=0.5)
    holding = lock.hold()  # keep a reference: a context manager without one releases the turn
    silent = holding.__enter__()
    (tmp_path / "1").write_text(json.dumps({"machine": "elsewhere", "pid": 1, "started": "1"}))
    began = time.monotonic()
    with lock.hold() as turn:
        assert time.monotonic() - began >= 0.2
        with pytest.raises(LockLostError, match="passed over"):
            silent.check()
        silent.release()
        turn.check()  # a holder that lost the lock releases its own turn, never its successor's
        with pytest.raises(LockBusyError, match="waited"), lock.hold():
            pass


def test_an_old_number_whose_file_was_removed_is_not_a_turn(tmp_path: Path) -> None:
    lock = Lock(tmp_path)
    for _ in range(5):
        with lock.hold():
            pass
    assert lock._take(2) is None
    with lock.hold() as turn:
        assert turn.number == 6


def test_a_turn_is_released_even_if_no_file_can_be_created(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lock = Lock(tmp_path / "lock", patience=5.0)

    def refuse(path: Path, *_: object, **__: object) -> None:
        raise OSError(errno.EDQUOT, "Disk quota exceeded")

    with lock.hold():
        monkeypatch.setattr(Path, "touch", refuse)
    monkeypatch.undo()
    with lock.hold() as turn:  # this process runs, so its first turn would never be passed over
        assert turn.number == 2
