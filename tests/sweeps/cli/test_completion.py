"""Completion, asked as a shell asks for it, and by a real bash."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.sweeps.conftest import MakeSweep, worker_of

HEAVY = ("torch", "mlflow", "optuna", "pandas", "submitit")


def complete(line: str, runs: Path, program: str = "sweeps") -> list[str]:
    """Return what is offered at the end of a line."""
    asked = {f"_{program.upper()}_COMPLETE": "complete_bash", "SWEEPS_RUNS": str(runs)}
    words = {"COMP_WORDS": line, "COMP_CWORD": str(len(line.split(" ")) - 1)}
    ended = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", program],
        env=os.environ | asked | words,
        capture_output=True,
        text=True,
    )
    assert ended.returncode == 0, ended.stderr
    imported = {row.rpartition("|")[2].strip() for row in ended.stderr.splitlines()}
    assert "typer" in imported
    assert imported.isdisjoint(HEAVY)
    return ended.stdout.split()


def test_commands_and_options_are_completed(tmp_path: Path) -> None:
    assert complete("sweeps sta", tmp_path) == ["status"]
    assert "work" not in complete("sweeps ", tmp_path)
    assert complete("sweeps status --js", tmp_path) == ["--json"]
    assert complete("vqvae eval", tmp_path, "vqvae") == ["evaluate"]


def test_names_of_sweeps_and_trials_are_completed(make_sweep: MakeSweep) -> None:
    sweep = make_sweep(trials=2, name="tiny-two")
    worker_of(sweep).run()
    trials = [trial.name for trial in sweep.paths.trials()]
    runs = sweep.paths.runs.folder
    assert complete("sweeps status ti", runs) == ["tiny-two"]
    assert complete("sweeps show --sweep ti", runs) == ["tiny-two"]
    assert complete("sweeps show 0", runs) == trials
    assert complete("sweeps show 0001", runs) == trials[1:]
    assert complete("sweeps show --sweep other 0", runs) == []
    assert complete("sweeps show 0", runs / "nowhere") == []


@pytest.mark.parametrize("program", ["sweeps", "vqvae"])
def test_a_real_bash_completes(program: str, tmp_path: Path) -> None:
    (tmp_path / program).write_text(f'#!/bin/sh\nexec "{sys.executable}" -m {program} "$@"\n')
    (tmp_path / program).chmod(0o755)
    script = (
        f'eval "$({program} --show-completion bash)"; complete -p {program}; '
        f"COMP_WORDS=({program} --vers); COMP_CWORD=1; "
        f'_{program}_completion {program}; echo "${{COMPREPLY[@]}}"'
    )
    environment = os.environ | {"PATH": f"{tmp_path}:{os.environ['PATH']}"}
    ended = subprocess.run(
        ["bash", "--norc", "-c", script], env=environment, capture_output=True, text=True
    )
    assert ended.stdout.splitlines() == [
        f"complete -o default -F _{program}_completion {program}",
        "--version",
    ], ended.stderr
