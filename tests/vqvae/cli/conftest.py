"""Data and configurations for the tests of the commands."""

from pathlib import Path

import pytest

from tests.vqvae.data.conftest import phantom, write
from vqvae.config import DataConfig

__all__ = ["phantom", "write"]

TOML = """
[data]
root = "{root}"
cache = "{cache}"
[model]
width = 8
residual_blocks = 1
codebook_size = 16
code_dimension = 4
[training]
epochs = 2
batch_size = 4
device = "cpu"
"""


@pytest.fixture
def toml(data: DataConfig, tmp_path: Path) -> Path:
    path = tmp_path / "config.toml"
    path.write_text(TOML.format(root=data.root, cache=data.cache))
    return path


@pytest.fixture(autouse=True)
def no_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let output be as in a log: pytest-xdist gives its processes a width of 80 columns."""
    monkeypatch.delenv("COLUMNS", raising=False)
