import shutil
from pathlib import Path

import pytest
import torch

from tests.vqvae.cli.test_main import run
from vqvae.config import DataConfig


def test_one_patient_is_counted_in_the_singular(
    trained: Path, tmp_path: Path, data: DataConfig, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(data.root, tmp_path / "set")
    for path in (tmp_path / "set").rglob("case_041*"):
        path.unlink()
    toml = tmp_path / "c.toml"
    toml.write_text(f'[data]\nroot = "{tmp_path / "set"}"\ncache = "{tmp_path / "cache"}"\n')

    assert run("evaluate", "--model", trained, "--config", toml, "--split", "test") == 0

    assert "test: 4 slices of 1 patient " in capsys.readouterr().out


@pytest.mark.skipif(torch.cuda.is_available(), reason="this host has a CUDA device")
def test_the_error_for_a_missing_device_does_not_name_the_configuration(
    trained: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("evaluate", "--model", trained, "--device", "cuda") == 2

    shown = capsys.readouterr().err
    assert "torch finds no CUDA device on this host" in shown
    assert "training.device" not in shown
