"""Commands of SLURM that the tests write, on a cluster of a known name."""

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from sweeps.storage.paths import SlurmPaths

WriteCommand = Callable[[str, str], Path]


@pytest.fixture(autouse=True)
def cluster(monkeypatch: pytest.MonkeyPatch) -> None:
    """The name of the cluster, as a job has it: SLURM is not asked for it."""
    monkeypatch.setenv("SLURM_CLUSTER_NAME", "testbed")


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


def let_pass(slurm: SlurmPaths, seconds: float) -> None:
    """Make the stored answer and the recorded commands older by so many seconds."""
    if slurm.queue.exists():
        content = json.loads(slurm.queue.read_text())
        for answer in content["answers"].values():
            answer["queried_at"] -= seconds
        slurm.queue.write_text(json.dumps(content))
    times = json.loads(slurm.queries.read_text())
    slurm.queries.write_text(json.dumps([then - seconds for then in times]))
