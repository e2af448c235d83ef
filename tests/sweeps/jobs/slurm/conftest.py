"""Commands of SLURM that a test writes."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest


@pytest.fixture
def command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str], Path]:
    """Write a command as a shell script; return the file in which its calls are counted."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")

    def make(name: str, script: str) -> Path:
        calls = tmp_path / f"{name}.calls"
        calls.write_text("")
        (folder / name).write_text(f"#!/bin/bash\necho called >> {calls}\n{script}\n")
        (folder / name).chmod(0o755)
        return calls

    return make
