import json
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

    assert "test: 4 slices of 1 patient\n" in capsys.readouterr().out


@pytest.mark.skipif(torch.cuda.is_available(), reason="this host has a CUDA device")
def test_the_error_for_a_missing_device_does_not_name_the_configuration(
    trained: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("evaluate", "--model", trained, "--device", "cuda") == 2

    shown = capsys.readouterr().err
    assert "torch finds no CUDA device on this host" in shown
    assert "training.device" not in shown


EXPERIMENT = """
name = "small"
trials = 3
trainer = "vqvae.sweep:trainer"
[trial.data]
root = "{root}"
cache = "{cache}"
[trial.model]
width = 8
[space]
"training.batch_size" = [4, 16]
"""


@pytest.mark.xdist_group("package")
def test_an_experiment_or_a_configuration_or_a_folder_names_the_data(
    package: Path,
    tmp_path: Path,
    toml: Path,
    data: DataConfig,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert data.cache is not None
    monkeypatch.setenv("TMPDIR", str(data.cache))
    experiment = tmp_path / "experiment.toml"
    experiment.write_text(EXPERIMENT.format(root=data.root, cache=data.cache))
    found = []
    for given in (("--config", experiment), ("--config", toml), ("--data", data.root)):
        assert run("evaluate", "--model", package, *given, "--json") == 0
        found.append(json.loads(capsys.readouterr().out))
    assert found[0]["slices"] == 8
    assert found[1:] == [found[0], found[0]]


@pytest.mark.xdist_group("package")
def test_a_package_without_data_says_what_to_write(
    package: Path, tmp_path: Path, toml: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("evaluate", "--model", package) == 2
    shown = capsys.readouterr().err
    assert "give --data FOLDER, or --config FILE" in shown

    assert run("evaluate", "--model", package, "--config", toml, "--data", tmp_path) == 2
    assert "--data and --config both name the data; give only one" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('name = "x"\n', 'c.toml: [data] is missing; it names the data by root = "FOLDER"'),
        ("[trial.model]\nwidth = 8\n", "c.toml: [trial.data] is missing; it names the data"),
        ('[trial.data]\nrot = "x"\n', "unknown key 'trial.data.rot'; did you mean 'root'?"),
        ('[data]\nrot = "x"\n', "unknown key 'data.rot'; did you mean 'root'?"),
        ("data = 3\n", "c.toml: data = 3: input should be a valid dictionary"),
        ("trial = 3\n", "c.toml: [data] is missing"),
        ("[trial.data]\nroot = 7\n", "c.toml: trial.data.root = 7: "),
    ],
)
def test_a_file_that_names_no_data_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], content: str, message: str
) -> None:
    (tmp_path / "c.toml").write_text(content)
    assert run("evaluate", "--model", "m", "--config", tmp_path / "c.toml") == 2
    assert message in capsys.readouterr().err
