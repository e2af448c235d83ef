"""Both programs print the version of the package that is installed."""

import importlib.metadata
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize("program", ["sweeps", "vqvae"])
def test_the_version_is_that_of_the_package(program: str) -> None:
    installed = importlib.metadata.version("vqvae-sweeps")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert installed == project["version"]
    line = [sys.executable, "-m", program, "--version"]
    done = subprocess.run(line, capture_output=True, text=True, cwd=ROOT)
    assert (done.stdout, done.stderr, done.returncode) == (f"{program} {installed}\n", "", 0)


@pytest.mark.parametrize("program", ["sweeps", "vqvae"])
def test_the_version_is_in_the_help(program: str) -> None:
    line = [sys.executable, "-m", program, "--help"]
    done = subprocess.run(line, capture_output=True, text=True, cwd=ROOT)
    assert "--version" in done.stdout
