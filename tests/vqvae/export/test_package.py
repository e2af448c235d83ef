import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from vqvae.errors import InputError
from vqvae.export.package import MANIFEST, identity_of, open_package, read_manifest
from vqvae.export.programs import ENCODE, NAMES
from vqvae.model.code_prior import FILE
from vqvae.training.checkpoint import load_model

pytestmark = pytest.mark.xdist_group("package")


def test_a_package_gives_what_its_model_gives(package: Path, trained: Path) -> None:
    opened, (model, _) = open_package(package), load_model(trained)
    images = torch.rand(3, 1, 37, 29)

    with torch.no_grad():
        made, codes = model(images)

    assert torch.equal(opened.encode(images), codes)
    torch.testing.assert_close(opened.reconstruct(images), made, rtol=0, atol=1e-5)
    assert torch.equal(opened.decode(codes, 37, 29), opened.reconstruct(images))
    assert (opened.codebook_size, opened.stride) == (16, 4)


def test_the_identity_is_that_of_programs_and_statistics(package: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(package, tmp_path / "copy")
    content = json.loads((copy / MANIFEST).read_text())
    (copy / MANIFEST).write_text(json.dumps(content | {"about": "something else"}))

    manifest = read_manifest(package)
    assert open_package(copy).identity == identity_of(manifest)
    for change in (
        {"programs": manifest.programs | {ENCODE: "0" * 64}},
        {"code_prior": "0" * 64},
    ):
        assert identity_of(manifest.model_copy(update=change)) != identity_of(manifest)


@pytest.mark.parametrize("name", [*NAMES, MANIFEST])
def test_a_missing_file_is_named(package: Path, tmp_path: Path, name: str) -> None:
    copy = shutil.copytree(package, tmp_path / "copy")
    (copy / name).unlink()

    with pytest.raises(InputError, match=f"{copy / name}: no such file; is {copy} a package"):
        open_package(copy)


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=f"is {tmp_path / 'absent'} a package"):
        open_package(tmp_path / "absent")


def test_a_damaged_program_is_named(package: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(package, tmp_path / "copy")
    content = bytearray((copy / ENCODE).read_bytes())
    content[len(content) // 2] ^= 1
    (copy / ENCODE).write_bytes(content)

    with pytest.raises(InputError, match=f"{copy / ENCODE}: damaged: .* copy it again"):
        open_package(copy)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": 2}, "not a package of format 1: format"),
        ({"surprise": 1}, "not a package of format 1: surprise"),
        ({"programs": {}}, "'programs' must name exactly model.pt2, encode.pt2, decode.pt2"),
        ({"programs": {"../../x.pt2": "0"}}, "'programs' must name exactly"),
        ({"stride": 3}, "stride"),
        ({"codebook_size": "many"}, "codebook_size"),
        (None, "not valid JSON"),
    ],
)
def test_a_description_of_another_format_is_refused(
    package: Path, tmp_path: Path, change: dict[str, Any] | None, message: str
) -> None:
    copy = shutil.copytree(package, tmp_path / "copy")
    content = json.loads((copy / MANIFEST).read_text())
    text = "no json" if change is None else json.dumps(content | change)
    (copy / MANIFEST).write_text(text)

    with pytest.raises(InputError, match=message) as error:
        read_manifest(copy)
    assert len(str(error.value).splitlines()) == 1


def test_a_package_has_its_statistics(package: Path, tmp_path: Path) -> None:
    opened = open_package(package)
    assert opened.code_prior is not None
    assert opened.code_prior.codebook_size == opened.codebook_size
    copy = shutil.copytree(package, tmp_path / "package")
    (copy / FILE).write_bytes(b"VQP")
    with pytest.raises(InputError, match=f"{FILE}: damaged: its digest differs"):
        open_package(copy)
