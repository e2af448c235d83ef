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

from sweeps.filesystem import atomic
from sweeps.storage.job_record import read_started, read_submitted
from sweeps.storage.paths import RunsPaths, SweepPaths
from sweeps.storage.sweep import Sweep, open_sweep
from sweeps.storage.trial_record import read_curve


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
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
            preexec_fn=reset_signals,
        )

    return call


def reset_signals() -> None:
    """Handle SIGINT and SIGHUP again: the tests may run under nohup or in the background."""
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)


def finish(process: subprocess.Popen[str]) -> str:
    output = process.communicate(timeout=120)[0]
    assert process.returncode == 0, output
    return output


def the_sweep(tmp_path: Path) -> Sweep:
    return open_sweep(RunsPaths(tmp_path / "runs").sweep("tiny"))


def wait_for(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def epochs_of_trials(paths: SweepPaths) -> list[int]:
    return [len(read_curve(trial)) for trial in paths.trials()]


def test_a_sweep_ends_with_its_best_trial_and_the_command_to_type_next(
    start: Callable[..., subprocess.Popen[str]], tmp_path: Path
) -> None:
    output = finish(start(trials=6))
    sweep = the_sweep(tmp_path)
    assert sweep.is_over()
    assert re.search(r"^best trial: 000\d-\w{8}, val/score 0\.\d{4}, ", output, re.MULTILINE)
    assert f"ui --runs {tmp_path / 'runs'}\n" in output
    assert output.rstrip().endswith(f"promote tiny --runs {tmp_path / 'runs'}")
    assert "6 of 6 trials" in output
    again = finish(start(trials=6))
    assert "submitted to" not in again
    assert len(sweep.paths.trials()) == 6
    assert len(sweep.paths.jobs()) == 1


def open_gate(paths: SweepPaths) -> None:
    (paths.folder / "open").touch()


def test_a_sweep_whose_watcher_and_a_worker_were_killed_is_resumed(
    start: Callable[..., subprocess.Popen[str]], tmp_path: Path
) -> None:
    settings = {"trials": 6, "pruner": "none", "epochs": 4, "gate_at": 3}
    watcher = start(**settings)
    paths = RunsPaths(tmp_path / "runs").sweep("tiny")
    wait_for(lambda: 2 in epochs_of_trials(paths))
    watcher.kill()
    watcher.communicate()
    victim = next(trial for trial in paths.trials() if len(read_curve(trial)) == 2)
    os.kill(atomic.read_json(victim.attempts()[-1].claim)["pid"], signal.SIGKILL)
    again = start(**settings)
    wait_for(lambda: len(victim.attempts()) == 2)
    open_gate(paths)
    assert "submitted to" not in finish(again)  # the first job still runs, and no second is sent
    assert the_sweep(tmp_path).is_over()
    assert epochs_of_trials(paths) == [4] * 6


def test_a_sweep_whose_processes_were_all_killed_is_resumed(
    start: Callable[..., subprocess.Popen[str]], tmp_path: Path
) -> None:
    settings = {"trials": 6, "pruner": "none", "epochs": 4, "gate_at": 3}
    watcher = start(**settings)
    paths = RunsPaths(tmp_path / "runs").sweep("tiny")
    # Each worker has a claim now, so the claims below name all workers.
    wait_for(lambda: epochs_of_trials(paths) == [2, 2])
    watcher.kill()
    watcher.communicate()
    supervisor = read_started(paths.jobs()[0]).process.pid
    controller = int(read_submitted(paths.jobs()[0]).id)
    for pid in [controller, supervisor]:  # first the processes that would restart a worker
        os.kill(pid, signal.SIGKILL)
    for pid in {atomic.read_json(t.attempts()[-1].claim)["pid"] for t in paths.trials()}:
        os.kill(pid, signal.SIGKILL)
    open_gate(paths)
    assert "submitted to" in finish(start(**settings))
    assert epochs_of_trials(paths) == [4] * 6
    for trial in paths.trials():
        computed = (trial.folder / "computed.log").read_text().split()
        assert len(computed) == 4  # each trial waited at its gate, so no half epoch was lost


def test_a_closed_terminal_ends_only_the_watcher(
    start: Callable[..., subprocess.Popen[str]], tmp_path: Path
) -> None:
    watcher = start(trials=4, pruner="none", gate_at=3)
    paths = RunsPaths(tmp_path / "runs").sweep("tiny")
    wait_for(lambda: epochs_of_trials(paths) == [2, 2])
    os.killpg(watcher.pid, signal.SIGHUP)
    watcher.communicate()
    open_gate(paths)
    wait_for(lambda: the_sweep(tmp_path).is_over())
    wait_for(paths.jobs()[0].ended.exists)


def test_two_launches_at_once_submit_one_job(
    start: Callable[..., subprocess.Popen[str]], tmp_path: Path
) -> None:
    both = [start(trials=6, seconds=0.02) for _ in range(2)]
    outputs = [finish(process) for process in both]
    assert sum("submitted to" in output for output in outputs) == 1
    assert len(the_sweep(tmp_path).paths.trials()) == 6


def test_stop_loses_no_finished_epoch_and_the_sweep_can_be_resumed(
    start: Callable[..., subprocess.Popen[str]], tmp_path: Path
) -> None:
    settings = {"trials": 4, "pruner": "none", "gate_at": 3}
    watcher = start(**settings)
    paths = RunsPaths(tmp_path / "runs").sweep("tiny")
    wait_for(lambda: epochs_of_trials(paths) == [2, 2])
    command = [sys.executable, "-m", "sweeps", "stop", "--runs", str(paths.runs.folder)]
    stopping = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    wait_for(paths.stop.exists)
    open_gate(paths)
    assert "no finished epoch is lost; resume with:" in stopping.communicate(timeout=60)[0]
    output = watcher.communicate(timeout=60)[0]
    assert watcher.returncode == 1
    assert "stopped: by hand" in output
    assert epochs_of_trials(paths) == [3, 3]
    assert all(trial.attempts()[-1].released.exists() for trial in paths.trials())
    finish(start(**settings))
    assert epochs_of_trials(paths) == [9] * 4


def test_a_bug_stops_the_sweep_and_the_traceback_is_named(
    start: Callable[..., subprocess.Popen[str]], tmp_path: Path
) -> None:
    process = start(trials=6, bug="true")
    output = process.communicate(timeout=60)[0]
    assert process.returncode == 1
    # Two workers: one more trial may fail before both of them have stopped.
    why = r"stopped: [34] trials failed with the same error: RuntimeError: a bug of the trainer's"
    assert re.search(why, output)
    assert "traceback.txt" in output
    assert len(the_sweep(tmp_path).paths.trials()) <= 4


def test_ctrl_c_on_a_terminal_leaves_the_sweep_running(
    tmp_path: Path, write_experiment: Callable[..., Path], empty_store: Path
) -> None:
    runs = tmp_path / "runs"
    runs.mkdir()
    (runs / "mlflow.db").write_bytes(empty_store.read_bytes())
    path = write_experiment(trials=4, pruner="none", epochs=5, gate_at=4)
    screen, terminal = pty.openpty()
    command = [sys.executable, "-m", "sweeps", "run", str(path), "--runs", str(runs)]
    watcher = subprocess.Popen(
        command,
        stdin=terminal,
        stdout=terminal,
        stderr=terminal,
        start_new_session=True,
        preexec_fn=reset_signals,
        env=os.environ | {"COLUMNS": "150", "LINES": "40", "TERM": "xterm-256color"},
    )
    os.close(terminal)
    shown: list[str] = []
    reader = threading.Thread(target=read_all, args=(screen, shown))
    reader.start()
    paths = RunsPaths(runs).sweep("tiny")
    wait_for(lambda: 3 in epochs_of_trials(paths) and "3/5" in "".join(shown))
    os.killpg(watcher.pid, signal.SIGINT)  # as a terminal does: to its whole foreground group
    assert watcher.wait(timeout=20) == 0
    reader.join()
    text = "".join(shown)
    assert "the sweep continues without this watcher" in text
    assert "watch tiny" in text
    sweep = open_sweep(paths)
    assert not sweep.is_over()
    open_gate(paths)
    wait_for(sweep.is_over)
    wait_for(paths.jobs()[0].ended.exists)


def read_all(screen: int, shown: list[str]) -> None:
    while True:
        try:
            shown.append(os.read(screen, 65536).decode(errors="replace"))
        except OSError:
            os.close(screen)
            return


def test_trials_that_could_not_be_published_are_reported_at_the_end(
    start: Callable[..., subprocess.Popen[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    output = finish(start(trials=2, epochs=2))
    assert "2 of 2 trials are not completely in MLflow" in output
    assert "sync tiny" in output
