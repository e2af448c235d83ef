import io
import json
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.vqvae.conftest import tiny
from tests.vqvae.export.test_archive_check import read
from tests.vqvae.model.test_vqvae import make
from vqvae.config import DataConfig, ModelConfig
from vqvae.errors import InputError
from vqvae.export import write as export
from vqvae.export.package import EXAMPLE, MANIFEST, open_package, read_manifest
from vqvae.export.programs import ENCODE, NAMES, programs_of
from vqvae.export.write import verify, write_package
from vqvae.model.code_prior import FILE
from vqvae.sweep import trainer
from vqvae.training.checkpoint import load_model

pytestmark = pytest.mark.xdist_group("package")

SIZES = [(256, 128), (256, 144), (64, 53)]


@pytest.mark.parametrize("number", [1, 2, 7])
def test_a_package_agrees_with_its_model_for_any_batch(
    package: Path, trained: Path, number: int
) -> None:
    model, _ = load_model(trained)

    verify(model, open_package(package), [(number, *size) for size in SIZES])


def test_another_network_is_exported_and_works_for_a_grid_of_one_code(tmp_path: Path) -> None:
    model = make(stride=16, codebook="gradient", residual_blocks=0)

    write_package(model, tmp_path / "p", data="made up")

    verify(model, open_package(tmp_path / "p"), [(1, 11, 13)])


def test_a_package_describes_its_model(package: Path, data: DataConfig) -> None:
    found = read_manifest(package)

    assert {path.name for path in package.iterdir()} == {*NAMES, EXAMPLE, MANIFEST, FILE}
    assert found.model["codebook_size"] == found.codebook_size == 16
    assert found.input.shape == found.output.shape == (-1, 1, -1, -1)
    assert ModelConfig.model_validate(found.model) == tiny(data).model
    assert re.fullmatch(r"torch==[\d.]+", found.requirements[0])
    assert "0.25 bits per pixel" in found.about.replace("\n", " ")
    assert data.root.name in found.about
    example = torch.tensor(json.loads((package / EXAMPLE).read_text()))
    assert example.shape == (2, 1, 24, 20)
    assert 0 <= example.min() < example.max() <= 1


def test_the_described_scaling_is_the_one_that_is_used(package: Path) -> None:
    """The lines in the description, run on a slice, give what `vqvae.data.intensity` gives."""
    import numpy as np

    from vqvae.data.intensity import scale

    pixels = np.random.default_rng(0).gamma(2, 300, (40, 33)).astype(np.float32)
    lines = read_manifest(package).use.splitlines()
    shown = [line for line in lines if line.startswith(("low, high", "scaled"))]
    found = {"pixels": pixels, "np": np}
    exec("\n".join(shown), found)

    np.testing.assert_array_equal(found["scaled"], scale(pixels)[0])


def test_the_described_code_needs_torch_and_numpy_alone(package: Path) -> None:
    """Every other package, vqvae included, cannot be imported."""
    code = """
import sys
from importlib.machinery import ModuleSpec
from importlib.metadata import packages_distributions, requires
from re import match
plain = lambda name: name.lower().replace("_", "-")
allowed, open_ = set(), ["torch", "numpy"]
while open_:
    name = open_.pop()
    allowed.add(name)
    found = [line for line in requires(name) or [] if ";" not in line]
    open_ += {plain(match("[A-Za-z0-9_.-]+", line)[0]) for line in found} - allowed
owners = {top: set(map(plain, names)) for top, names in packages_distributions().items()}
class Wall:
    def find_spec(self, name, path=None, target=None):
        top = name.partition(".")[0]
        if top == "vqvae" or top in owners and not owners[top] & allowed:
            return ModuleSpec(name, self)
    def create_module(self, spec):
        raise ModuleNotFoundError(f"no {spec.name} here", name=spec.name)
    def exec_module(self, module):
        pass
sys.meta_path.insert(0, Wall())
try:
    import pydantic
except ModuleNotFoundError:
    pass
else:
    sys.exit("the wall has a hole")
exec(open("lines.py").read())
assert made.shape == (24, 20) and abs(made - pixels).mean() < 0.5
"""
    lines = read_manifest(package).use.strip().removeprefix("```python").removesuffix("```")
    code = code.replace('open("lines.py").read()', repr(lines))
    done = subprocess.run(
        [sys.executable, "-I", "-c", code], cwd=package, capture_output=True, text=True
    )

    assert done.returncode == 0, done.stderr


def test_a_program_has_no_example_inputs_and_no_paths_of_this_host(package: Path) -> None:
    for name in NAMES:
        records = read(package / name)
        examples = zipfile.ZipFile(io.BytesIO(records["data/sample_inputs/model.pt"]))
        assert examples.read("archive/data.pkl") == b"\x80\x02}q\x00."  # of {}
        for content in records.values():
            assert b".py" not in content


def test_mlflow_opens_a_package_with_its_check_for_pickles_enabled(
    package: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mlflow.pytorch import _load_pyfunc

    monkeypatch.setenv("MLFLOW_ALLOW_PICKLE_DESERIALIZATION", "false")
    served = _load_pyfunc(str(package), model_config={"device": "cpu"})
    images = np.random.default_rng(0).random((3, 1, 30, 21), np.float32)
    expected = open_package(package).reconstruct(torch.from_numpy(images)).numpy()
    np.testing.assert_array_equal(served.predict(images), expected)


def test_an_existing_package_is_not_replaced(
    trained: Path, package: Path, data: DataConfig
) -> None:
    before = (package / MANIFEST).read_bytes()

    with pytest.raises(InputError, match="is not empty"):
        trainer.export(tiny(data), trained, package)

    assert (package / MANIFEST).read_bytes() == before


@pytest.fixture(scope="module")
def others(trained: Path) -> dict[str, dict[str, bytes]]:
    """Programs of two other models: another network, and the trained one with another decoder."""
    model, _ = load_model(trained)
    with torch.no_grad():
        model.decoder[0].bias += 0.1
    return {"model": programs_of(make()), "decoder": programs_of(model)}


@pytest.mark.parametrize(
    ("other", "names", "reason"),
    [
        ("model", NAMES, "encode.pt2 chooses other codes than the model"),
        ("model", (ENCODE,), "decode.pt2 does not give, bit for bit, what model.pt2 gives"),
        ("decoder", NAMES, "images differ from the model's by 0"),
    ],
)
def test_programs_that_do_not_agree_with_the_model_are_not_packaged(
    trained: Path,
    package: Path,
    others: dict[str, dict[str, bytes]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    other: str,
    names: tuple[str, ...],
    reason: str,
) -> None:
    mixed = {name: (package / name).read_bytes() for name in NAMES}
    mixed |= {name: others[other][name] for name in names}
    monkeypatch.setattr(export, "programs_of", lambda _: mixed)

    with pytest.raises(InputError, match=f"export failed for 1 images of 40x36: {reason}"):
        write_package(load_model(trained)[0], tmp_path / "p", data="made up")

    assert list(tmp_path.iterdir()) == []
