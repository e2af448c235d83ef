"""Whole sweeps through submitit's local executor, as `make sweep` runs them."""

import os
import pty
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from sweeps import files
from sweeps.paths import RunsPaths, SweepPaths
from sweeps.record import read_curve, read_result
from sweeps.sweep import Sweep, open_sweep


@pytest.fixture
def start(
    tmp_path: Path, write_experiment: Callable[..., Path], empty_store: Path
) -> Callable[..., subprocess.Popen[str]]:
    runs = tmp_path / "runs"
    runs.mkdir()
    (runs / "mlflow.db").write_bytes(empty_store.read_bytes())

    def call(*options: str, **experiment: object) -> subprocess.Popen[str]:
        path = write_experiment(**experiment)
        command = [sys.executable, "-m", "sweeps", "run", str(path), "--runs", str(runs), *options]
        return subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )

    return call


def finish(process: subprocess.Popen[str]) -> str:
    output = process.communicate(timeout=120)[0]
    assert process.returncode == 0, output
    return output


def the_sweep(tmp_path: Path) -> Sweep:
    return open_sweep(RunsPaths(tmp_path / "runs").sweep("tiny"))


def wait_for(condition: Callable[[], object]) -> None:
    give_up = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < give_up
        time.sleep(0.05)


def trials_of(paths: SweepPaths) -> list[int]:
    return [len(read_curve(trial)) for trial in paths.trials()]


def test_a_sweep_ends_with_its_best_trial_and_the_command_to_type_next(
    start: Callable[..., subprocess.Popen[str]], tmp_path: Path
) -> None:
    output = finish(start(trials=6))
    sweep = the_sweep(tmp_path)
    assert sweep.is_over()
    assert re.search(r"^best trial: 000\d-\w{8}, val/score 0\.\d{4}, ", output, re.MULTILINE)
    assert output.rstrip().endswith("make ui")
    assert "6 of 6 trials" in output
    again = finish(start(trials=6))
    assert "sent to" not in again
    assert len(sweep.paths.trials()) == 6
    assert len(sweep.paths.jobs()) == 1


def test_kill_the_watcher_then_a_worker_and_run_it_again(
    start: Callable[..., subprocess.Popen[str]], tmp_path: Path
) -> None:
    watcher = start(trials=10, seconds=0.4, pruner="none", epochs=4)
    paths = RunsPaths(tmp_path / "runs").sweep("tiny")
    wait_for(lambda: sum(trials_of(paths)) >= 3)
    watcher.send_signal(signal.SIGKILL)
    watcher.communicate()
    victim = files.read_json(paths.trials()[-1].attempts()[-1].claim)["pid"]
    os.kill(victim, signal.SIGKILL)
    output = finish(start(trials=10, seconds=0.4, pruner="none", epochs=4))
    assert "sent to" not in output  # the job was still there: attached, not doubled
    sweep = the_sweep(tmp_path)
    assert sweep.is_over()
    assert trials_of(paths) == [4] * 10
    assert any(len(trial.attempts()) == 2 for trial in paths.trials())


def test_kill_everything_and_run_it_again(
    start: Callable[..., subprocess.Popen[str]], tmp_path: Path
) -> None:
    watcher = start(trials=6, seconds=0.3, pruner="none", epochs=4)
    paths = RunsPaths(tmp_path / "runs").sweep("tiny")
    wait_for(lambda: sum(trials_of(paths)) >= 3)
    watcher.send_signal(signal.SIGKILL)
    watcher.communicate()
    supervisor = files.read_json(paths.jobs()[0].started)["pid"]
    controller = int(files.read_json(paths.jobs()[0].submitted)["id"])
    workers = [files.read_json(t.attempts()[-1].claim)["pid"] for t in paths.trials()]
    for pid in [controller, supervisor, *workers]:  # in this order: nobody fills a place again
        with_luck_still_there(pid)
    output = finish(start(trials=6, seconds=0.3, pruner="none", epochs=4))
    assert "sent to" in output
    assert trials_of(paths) == [4] * 6
    for trial in paths.trials():
        computed = (trial.folder / "computed.log").read_text().split()
        assert len(computed) <= 4 + len(trial.attempts()) - 1


def with_luck_still_there(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return


def test_two_launches_at_once_send_one_job(
    start: Callable[..., subprocess.Popen[str]], tmp_path: Path
) -> None:
    both = [start(trials=6, seconds=0.02) for _ in range(2)]
    outputs = [finish(process) for process in both]
    assert sum("sent to" in output for output in outputs) == 1
    assert len(the_sweep(tmp_path).paths.trials()) == 6


def test_stop_ends_it_cleanly_and_running_again_goes_on(
    start: Callable[..., subprocess.Popen[str]], tmp_path: Path
) -> None:
    watcher = start(trials=4, seconds=0.2, pruner="none")
    paths = RunsPaths(tmp_path / "runs").sweep("tiny")
    wait_for(lambda: sum(trials_of(paths)) >= 2)
    command = [sys.executable, "-m", "sweeps", "stop", "--runs", str(paths.runs)]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert "nothing is lost; go on with:" in ended.stdout
    output = watcher.communicate(timeout=60)[0]
    assert watcher.returncode == 1
    assert "stopped: by hand" in output
    assert all(trial.attempts()[-1].released.exists() for trial in paths.trials())
    finish(start(trials=4, seconds=0.2, pruner="none"))
    assert trials_of(paths) == [9] * 4
    assert all(read_result(trial) for trial in paths.trials())


def test_a_bug_stops_the_sweep_and_says_where(
    start: Callable[..., subprocess.Popen[str]], tmp_path: Path
) -> None:
    process = start(trials=6, bug="true")
    output = process.communicate(timeout=60)[0]
    assert process.returncode == 1
    assert "stopped: 3 trials failed alike: RuntimeError: a bug of the trainer's" in output
    assert "failure.txt" in output
    assert len(the_sweep(tmp_path).paths.trials()) <= 4


def test_ctrl_c_on_a_terminal_leaves_the_sweep_running(
    tmp_path: Path, write_experiment: Callable[..., Path], empty_store: Path
) -> None:
    runs = tmp_path / "runs"
    runs.mkdir()
    (runs / "mlflow.db").write_bytes(empty_store.read_bytes())
    path = write_experiment(trials=8, seconds=0.3, pruner="none", epochs=5)
    screen, terminal = pty.openpty()
    command = [sys.executable, "-m", "sweeps", "run", str(path), "--runs", str(runs)]
    watcher = subprocess.Popen(
        command,
        stdin=terminal,
        stdout=terminal,
        stderr=terminal,
        start_new_session=True,
        env=os.environ | {"COLUMNS": "150", "LINES": "40", "TERM": "xterm-256color"},
    )
    os.close(terminal)
    seen: list[str] = []
    reader = threading.Thread(target=read_all, args=(screen, seen))
    reader.start()
    paths = RunsPaths(runs).sweep("tiny")
    wait_for(lambda: sum(trials_of(paths)) >= 3 and "best val/score" in "".join(seen))
    watcher.send_signal(signal.SIGINT)
    assert watcher.wait(timeout=20) == 0
    reader.join()
    text = "".join(seen)
    assert "the sweep goes on without this watcher" in text
    assert "watch tiny" in text
    sweep = open_sweep(paths)
    assert not sweep.is_over()
    wait_for(sweep.is_over)
    wait_for(paths.jobs()[0].ended.exists)


def read_all(screen: int, seen: list[str]) -> None:
    while True:
        try:
            seen.append(os.read(screen, 65536).decode(errors="replace"))
        except OSError:
            os.close(screen)
            return
