"""`docs/your-trainer.md`, typed: its files are written, its commands run, its promises kept."""

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from sweeps.checkpoint import read_checkpoint
from sweeps.storage.paths import RunsPaths, TrialPaths
from sweeps.storage.trial_record import State, best_checkpoint, read_curve, read_result

pytestmark = pytest.mark.xdist_group("tutorial")  # one process, so that the page is typed once
ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "your-trainer.md").read_text()
KILLED = """
import os, signal
from pathlib import Path
from digits import Digits

class Killed(Digits):
    def train_epoch(self, config, state, epoch):
        marker = Path(f"killed-{epoch}")
        metrics = super().train_epoch(config, state, epoch)
        if epoch in (1, 4) and not marker.exists():
            marker.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return metrics

trainer = Killed()
"""
"""The trainer of the page, which kills a worker in a first and in a fourth epoch, once each."""
CLUSTER = 'scheduler = "local"\nclaim_seconds = 5\n'


def write_files(folder: Path) -> None:
    shutil.copytree(ROOT / "experiments" / "clusters", folder / "experiments" / "clusters")
    blocks = re.findall(r"```\w+ file=(\S+)\n(.*?)```", PAGE, re.DOTALL)
    assert {name for name, _ in blocks} == {"digits.py", "experiments/digits.toml", "best.py"}
    for name, text in blocks:
        (folder / name).write_text(text)


def commands() -> list[str]:
    blocks = re.findall(r"```sh\n(.*?)```", PAGE, re.DOTALL)
    return [line for block in blocks for line in block.splitlines()]


def call(folder: Path, *words: str, status: int = 0) -> str:
    variables = {"PYTHONPATH": str(ROOT), "SWEEPS_RUNS": str(folder / "runs")}
    done = subprocess.run(
        [sys.executable, *words],
        cwd=folder,
        env=os.environ | variables,
        capture_output=True,
        text=True,
    )
    assert done.returncode == status, done.stdout + done.stderr
    return done.stdout + done.stderr


def sweeps(folder: Path, command: str, status: int = 0) -> str:
    program, *words = shlex.split(command)
    return call(folder, "-m", program, *words, status=status)


def trials(folder: Path) -> dict[str, TrialPaths]:
    paths = RunsPaths(folder / "runs").sweep("digits").trials()
    return {trial.name: trial for trial in paths}


def metrics(trial: TrialPaths) -> list[dict[str, float]]:
    return [dict(row.metrics) for row in read_curve(trial)]


@pytest.fixture(scope="module")
def typed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, str]]:
    """The folder in which the page was typed, and what each command printed."""
    folder = tmp_path_factory.mktemp("typed")
    write_files(folder)
    return folder, {command: sweeps(folder, command) for command in commands()}


@pytest.mark.slow
def test_the_sweep_of_the_page_completes(typed: tuple[Path, dict[str, str]]) -> None:
    folder, output = typed
    found = trials(folder).values()
    assert [read_result(trial).state for trial in found] == [State.COMPLETE] * 6
    assert max(read_result(trial).value for trial in found) > 0.85
    text = "\n".join(output.values())
    assert "no model of this sweep can be promoted: trainer 'digits:trainer' cannot export" in text
    assert "sweeps promote" not in text
    assert "Linear(in_features=64" in call(folder, "best.py")
    refused = sweeps(folder, "sweeps promote digits", status=2)
    assert refused.startswith("error: trainer 'digits:trainer' cannot export models")
    assert refused.count("\n") == 1


@pytest.mark.slow
def test_a_killed_trial_equals_an_uninterrupted_one(
    typed: tuple[Path, dict[str, str]], tmp_path: Path
) -> None:
    write_files(tmp_path)
    (tmp_path / "killed.py").write_text(KILLED)
    file = tmp_path / "experiments" / "digits.toml"
    file.write_text(file.read_text().replace("digits:trainer", "killed:trainer"))
    (tmp_path / "experiments" / "clusters" / "local.toml").write_text(CLUSTER)
    sweeps(tmp_path, "sweeps run digits --cluster local")
    whole, killed = trials(typed[0]), trials(tmp_path)
    assert killed.keys() == whole.keys()
    assert sum(len(trial.attempts()) - 1 for trial in killed.values()) == 2
    for name, trial in killed.items():
        assert metrics(trial) == metrics(whole[name])
        states = [read_checkpoint(best_checkpoint(t)).state for t in (trial, whole[name])]
        assert states[0] == states[1]


def test_the_page_shows_what_the_tests_type() -> None:
    assert [command.split()[1] for command in commands()][:3] == ["plan", "run", "status"]
