from importlib.metadata import EntryPoint, EntryPoints
from pathlib import Path

import pytest
import torch

import vqvae
from tests.vqvae.cli.test_main import run
from vqvae.errors import InputError
from vqvae.export.package import Package
from vqvae.inference import load as models
from vqvae.inference.load import open_model
from vqvae.model.vqvae import VQVAE

CPU = torch.device("cpu")


@pytest.fixture
def registry(monkeypatch: pytest.MonkeyPatch) -> EntryPoints:
    """The installed entry points: only one, for `place:/`."""
    entry = EntryPoint("place", "tests.vqvae.inference.test_load:fetch", models.GROUP)
    installed = EntryPoints([entry])
    monkeypatch.setattr(models, "entry_points", installed.select)
    return installed


def fetch(uri: str) -> Path:
    if "@" not in uri:
        raise ValueError(f"{uri}: name an alias, as in place:/name@champion")
    return Path(uri.removeprefix("place:").partition("@")[0])


@pytest.mark.xdist_group("package")
def test_a_folder_a_checkpoint_and_a_package_are_models(trained: Path, package: Path) -> None:
    for source in (trained, trained / "best.pt"):
        codec, config = open_model(str(source), CPU)
        assert isinstance(codec, VQVAE)
        assert config is not None
    codec, config = open_model(str(package), CPU)
    assert isinstance(codec, Package)
    assert config is None


@pytest.mark.xdist_group("package")
@pytest.mark.usefixtures("registry")
def test_a_uri_is_fetched_by_the_entry_point_of_its_scheme(package: Path) -> None:
    codec, _ = open_model(f"place:{package}@champion", CPU)

    assert isinstance(codec, Package)


@pytest.mark.xdist_group("package")
@pytest.mark.usefixtures("registry")
def test_a_model_that_cannot_be_fetched_is_an_error_of_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(InputError, match="place:/x: name an alias, as in place:/name@champion"):
        open_model("place:/x", CPU)
    expected = "s3://x: s3:/ is not a valid kind of model URI; the valid ones are place:/"
    with pytest.raises(InputError, match=expected):
        open_model("s3://x", CPU)
    with pytest.raises(InputError, match=r"no such file; is .* a package"):
        open_model(f"place:{tmp_path}/absent@champion", CPU)

    assert run("evaluate", "--model", "s3://x") == 2
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_a_missing_registry_is_named_in_the_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(models, "entry_points", lambda **_: EntryPoints([]))

    with pytest.raises(InputError, match="no model registry is installed beside vqvae"):
        open_model("models:/vqvae@champion", CPU)


@pytest.mark.xdist_group("package")
def test_a_package_is_scored_on_the_data_of_the_given_configuration(
    package: Path, trained: Path, tmp_path: Path, data: object, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("evaluate", "--model", package, "--split", "test") == 2
    assert "does not say where its data are; give --data FOLDER" in capsys.readouterr().err
    toml = tmp_path / "c.toml"
    toml.write_text(f'[data]\nroot = "{data.root}"\ncache = "{data.cache}"\n')

    assert run("evaluate", "--model", package, "--config", toml, "--json") == 0
    printed = capsys.readouterr().out
    assert run("evaluate", "--model", trained, "--config", toml, "--json") == 0
    assert printed == capsys.readouterr().out


def find(source: str) -> Path | None:
    if source == "other:9":
        raise ValueError("no trial 9")
    return Path(source.removeprefix("mine ")) if source.startswith("mine ") else None


def test_a_name_is_looked_up_by_the_entry_points_for_checkpoints(
    trained: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    entry = EntryPoint("mine", "tests.vqvae.inference.test_load:find", models.CHECKPOINTS)
    monkeypatch.setattr(models, "entry_points", EntryPoints([entry]).select)
    codec, config = open_model(f"mine {trained}/best.pt", CPU)
    assert isinstance(codec, VQVAE)
    assert config is not None
    assert isinstance(open_model(str(trained), CPU)[0], VQVAE)  # what exists is not looked up
    with pytest.raises(InputError, match=r"^no trial 9$"):
        open_model("other:9", CPU)
    with pytest.raises(InputError, match=r"absent: no such checkpoint"):
        open_model("absent", CPU)


@pytest.mark.xdist_group("package")
def test_a_model_is_loaded_ready_to_call(trained: Path, package: Path) -> None:
    model = vqvae.load(trained)
    images = torch.rand(2, 1, 34, 32)
    reconstructed, codes = model(images)
    assert reconstructed.shape == images.shape
    assert codes.shape == (2, -(-34 // model.stride), -(-32 // model.stride))
    assert torch.equal(model.decode(model.encode(images), 34, 32), reconstructed)
    assert not model.training
    assert not reconstructed.requires_grad
    assert vqvae.load(str(trained / "best.pt")).identity == model.identity
    with pytest.raises(ValueError, match="is a package, without the network of a training"):
        vqvae.load(package)
    with pytest.raises(ValueError, match="device 'gpu' is not a valid device"):
        vqvae.load(trained, "gpu")
