"""Fixtures: commands of `sweeps` in this process."""

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from sweeps.cli import main as cli


@pytest.fixture
def call(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., str]:
    """Run a command on the sweeps of the test; return its output, or its error if it fails."""
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("SWEEPS_RUNS", str(tmp_path / "runs"))

    def run(*arguments: str, status: int = 0) -> str:
        capsys.readouterr()
        monkeypatch.setattr(sys, "argv", ["sweeps", *arguments])
        with pytest.raises(SystemExit) as end:
            cli.main()
        out, err = capsys.readouterr()
        assert int(end.value.code or 0) == status, err
        return err if status else out

    return run
