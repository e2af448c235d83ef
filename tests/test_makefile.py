"""The values of variables on `make`'s command line reach the commands whole."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ODD = ["my exp.toml", "it's.toml", 'a"b.toml', "c#d/e.toml", "a$b.toml", "a?b*.toml", "a;touch x"]


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A folder with the Makefile, and an environment whose `python` prints its arguments."""
    folder = tmp_path / "it's a project"
    (folder / ".venv/bin").mkdir(parents=True)
    for name in ("Makefile", "pyproject.toml", "constraints.txt"):
        shutil.copy(ROOT / name, folder)
    python = folder / ".venv/bin/python"
    python.write_text("#!/bin/sh\nprintf '%s\\n' \"$@\"\n")
    python.chmod(0o755)
    (folder / ".venv/.vqvae-sweeps-installed").touch()
    return folder


def make(project: Path, *words: str) -> subprocess.CompletedProcess[str]:
    environment = {k: v for k, v in os.environ.items() if k not in {"MAKEFLAGS", "MAKELEVEL"}}
    return subprocess.run(
        ["make", *words], cwd=project, env=environment, capture_output=True, text=True
    )


@pytest.mark.parametrize("value", ODD)
def test_a_value_is_one_argument(value: str, project: Path) -> None:
    ended = make(project, "sweep", f"EXPERIMENT={value}", f"CLUSTER={value}")
    words = ["-m", "sweeps", "run", value, "--cluster", value]
    assert ended.stdout.splitlines() == words, ended.stderr
    ended = make(project, "promote", f"SWEEP={value}", f"TRIAL={value}")
    assert ended.stdout.splitlines() == ["-m", "sweeps", "promote", value, "--trial", value]
    assert not (project / "x").exists()


def test_without_values_there_are_no_arguments(project: Path) -> None:
    assert make(project, "sweep").stdout.split() == ["-m", "sweeps", "run"]
    assert make(project, "promote").stdout.split() == ["-m", "sweeps", "promote"]


def test_an_environment_with_a_blank_in_its_path_is_refused(project: Path) -> None:
    ended = make(project, "sweep", "VENV=my env")
    assert ended.returncode == 2
    assert "VENV='my env': write the path of one folder, without blanks" in ended.stderr
