"""Helpers for trainings that take milliseconds."""

from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import pytest

from vqvae.config import Config
from vqvae.training.checkpoint import LAST, Best, Checkpoint, Epoch, load
from vqvae.training.loop import fit


@pytest.fixture
def trained(config: Config, tmp_path: Path) -> Path:
    list(islice(fit(config, tmp_path / "run", threads=1), 1))
    return tmp_path / "run"


def checkpoint_of(trained: Path, epoch: int, best: int) -> Checkpoint:
    found = load(trained / LAST)
    row = replace(found.row, epoch=epoch)
    return replace(found, row=row, best=Best(best, "val/ssim", 0.5))


def train(
    config: Config, folder: Path, upto: int | None = None, threads: int = 1, **rest: Any
) -> list[Epoch]:
    return list(islice(fit(config, folder, threads=threads, **rest), upto))


def repeatable_metrics(row: Epoch) -> dict[str, float]:
    """The metrics that must be equal in two runs: all except the speed."""
    return {k: v for k, v in row.metrics.items() if k != "train/images_per_second"}
