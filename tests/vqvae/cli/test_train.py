from pathlib import Path

import pytest

from tests.vqvae.cli.test_main import run
from vqvae.config import Config
from vqvae.model.code_prior import FILE


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("width = 8", "widht = 8", "unknown key 'model.widht'; did you mean 'width'?"),
        ("width = 8", "width = 7", "model.width = 7: input should be a multiple of 2"),
        ("[training]", "[trainig]", "unknown key 'trainig'; did you mean 'training'?"),
        (
            "epochs = 2",
            "epochs = 'two'",
            "training.epochs = 'two': input should be a valid integer",
        ),
        ("[model]", "[model", "line"),
        ("batch_size = 4", "batch_size = 400", "training.batch_size = 400 is more than the 12"),
    ],
)
def test_a_wrong_configuration_gives_an_error_of_one_line(
    toml: Path, capsys: pytest.CaptureFixture[str], old: str, new: str, message: str
) -> None:
    toml.write_text(toml.read_text().replace(old, new))

    assert run("train", toml, "--out", toml.parent / "out") == 2

    shown = capsys.readouterr().err
    assert message in shown
    assert len(shown.splitlines()) == 1
    if "batch" not in message:
        assert str(toml) in shown


def test_a_training_that_diverges_exits_with_an_error(
    toml: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    toml.write_text(toml.read_text() + 'optimizer = "sgd"\nlearning_rate = 1e30\n')

    assert run("train", toml, "--out", toml.parent / "out") == 1

    assert "training ended early" in capsys.readouterr().err


def test_a_trained_model_has_the_statistics_of_its_codes_once(
    toml: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = toml.parent / "out"
    assert run("train", toml, "--out", out) == 0
    assert "fitting how often codes stand beside each other" in capsys.readouterr().out
    content = (out / FILE).read_bytes()
    assert run("train", toml, "--out", out) == 0
    assert "fitting" not in capsys.readouterr().out
    assert (out / FILE).read_bytes() == content


def test_the_configuration_has_the_values_of_the_file(toml: Path) -> None:
    from vqvae.toml import read_config

    assert read_config(toml).model.width == 8
    assert isinstance(read_config(toml), Config)
