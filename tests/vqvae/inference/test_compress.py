import gzip
import zlib
from pathlib import Path

import nibabel
import numpy as np
import pytest
import torch

from tests.vqvae.cli.test_main import run
from tests.vqvae.conftest import blobs, write_nifti
from vqvae.inference.load import open_model
from vqvae.inference.vqc_format import pack, unpack

CPU = torch.device("cpu")


def odd_scan(path: Path, kind: type = nibabel.Nifti1Image) -> Path:
    """Write a scan whose header has scaling, units, codes, an oblique affine and a comment."""
    pixels = np.rint(blobs(3, 33, 26))[..., None].astype(">i2")
    header = kind.header_class(endianness=">")
    header.set_data_dtype(">i2")
    header.extensions.append(nibabel.nifti1.Nifti1Extension("comment", b"of a phantom"))
    affine = np.array([[1.1, 0.2, 0, -5], [-0.2, 1.3, 0, 7], [0, 0, 2.5, 3], [0, 0, 0, 1]])
    image = kind(pixels, affine, header)
    image.header.set_xyzt_units("mm", "sec")
    image.header["descrip"] = b"made up"
    image.header.set_slope_inter(0.5, 10)
    image.set_qform(affine, 1)
    image.set_sform(affine, 4)
    path.parent.mkdir(parents=True, exist_ok=True)
    nibabel.save(image, path)
    return path


@pytest.fixture
def scans(tmp_path: Path) -> Path:
    folder = tmp_path / "scans"
    write_nifti(folder / "a.nii.gz", blobs(1, 32, 24))
    write_nifti(folder / "below" / "b.nii", blobs(2, 40, 27)[..., None])
    odd_scan(folder / "c.nii.gz")
    odd_scan(folder / "d.nii", nibabel.Nifti2Image)
    volume = np.stack([(at + 1) * blobs(at, 32, 25) for at in range(3)], axis=2)
    write_nifti(folder / "e.nii.gz", volume)
    write_nifti(folder / "f.nii.gz", np.zeros((16, 16), np.float32))
    return folder


@pytest.mark.xdist_group("package")
@pytest.mark.parametrize("source", ["trained", "package"])
def test_decoding_gives_what_reconstructing_gives_bit_for_bit(
    scans: Path, tmp_path: Path, source: str, request: pytest.FixtureRequest
) -> None:
    model = request.getfixturevalue(source)
    codes, made, expected = (tmp_path / name for name in ("codes", "made", "expected"))

    assert run("encode", "--model", model, scans, "--out", codes) == 0
    assert run("decode", "--model", model, codes, "--out", made) == 0
    assert run("reconstruct", "--model", model, scans, "--out", expected) == 0

    names = sorted(path.relative_to(scans) for path in scans.rglob("*.nii*"))
    assert len(names) == 6
    assert sorted(p.relative_to(codes) for p in codes.rglob("*.vqc")) == [
        name.with_name(name.name + ".vqc") for name in names
    ]
    for name in names:
        assert (made / name).read_bytes() == (expected / name).read_bytes(), name
        given, found = nibabel.load(scans / name), nibabel.load(made / name)
        assert found.shape == given.shape
        np.testing.assert_array_equal(found.affine, given.affine)
        assert found.header.get_xyzt_units() == given.header.get_xyzt_units()


def test_each_slice_of_a_volume_is_coded_separately(trained: Path, tmp_path: Path) -> None:
    slices = [(at + 1) * blobs(at, 32, 25) for at in range(3)]
    write_nifti(tmp_path / "in" / "volume.nii", np.stack(slices, axis=2))
    for at, pixels in enumerate(slices):
        write_nifti(tmp_path / "in" / f"slice_{at}.nii", pixels)

    assert run("reconstruct", "--model", trained, tmp_path / "in", "--out", tmp_path / "out") == 0

    volume = nibabel.load(tmp_path / "out" / "volume.nii").get_fdata()
    for at in range(3):
        single = nibabel.load(tmp_path / "out" / f"slice_{at}.nii").get_fdata()
        np.testing.assert_array_equal(volume[..., at], single)


def test_sizes_are_printed_for_each_file_and_in_total(
    scans: Path, trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    codes = tmp_path / "codes"
    assert run("encode", "--model", trained, scans, "--out", codes) == 0

    shown = capsys.readouterr().out
    assert "bits per pixel" in shown
    assert "* the scan is not compressed; this is its size after gzip" in shown
    before = sum(path.stat().st_size for path in scans.rglob("*.nii.gz"))
    before += sum(len(gzip.compress(path.read_bytes(), 6)) for path in scans.rglob("*.nii"))
    after = sum(path.stat().st_size for path in codes.rglob("*.vqc"))
    total = next(line for line in shown.splitlines() if "all" in line.split())
    assert str(before) in total
    assert str(after) in total


def test_another_models_codes_are_refused(
    scans: Path, trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("encode", "--model", trained, scans / "a.nii.gz", "--out", tmp_path / "c") == 0
    path = tmp_path / "c" / "a.nii.gz.vqc"
    model, _ = open_model(str(trained), CPU)
    content = path.read_bytes()[:-4]
    assert content[4:8].hex() == model.identity[:8]
    content = content[:4] + bytes.fromhex("cdcdcdcd") + content[8:]
    path.write_bytes(content + zlib.crc32(content).to_bytes(4, "little"))
    capsys.readouterr()

    assert run("decode", "--model", trained, path, "--out", tmp_path / "d") == 2

    ours = model.identity[:8]
    message = f"a.nii.gz.vqc: its codes are from model cdcdcdcd, not from {ours}"
    assert message in capsys.readouterr().err


def test_damaged_files_are_named_and_the_others_decoded(
    scans: Path, trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    codes = tmp_path / "codes"
    assert run("encode", "--model", trained, scans, "--out", codes) == 0
    content = (codes / "a.nii.gz.vqc").read_bytes()
    (codes / "a.nii.gz.vqc").write_bytes(content[:-20])
    (codes / "c.nii.gz.vqc").write_bytes(b"nothing")
    model, _ = open_model(str(trained), CPU)
    coded = unpack((codes / "e.nii.gz.vqc").read_bytes(), model)
    forged = {**vars(coded), "header": coded.header[:100]}
    (codes / "e.nii.gz.vqc").write_bytes(pack(type(coded)(**forged), model))
    capsys.readouterr()

    assert run("decode", "--model", trained, codes, "--out", tmp_path / "made") == 1

    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 4
    assert "a.nii.gz.vqc: damaged or truncated" in lines[0]
    assert "c.nii.gz.vqc: not a coded scan" in lines[1]
    assert "e.nii.gz.vqc: " in lines[2]
    assert "3 of 6 files failed (listed above)" in lines[3]
    assert len(list((tmp_path / "made").rglob("*.nii*"))) == 3


def test_a_header_of_another_size_is_refused(
    scans: Path, trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    codes = tmp_path / "codes"
    assert run("encode", "--model", trained, scans, "--out", codes) == 0
    model, _ = open_model(str(trained), CPU)
    one, other = (unpack((codes / f"{name}.nii.gz.vqc").read_bytes(), model) for name in "ae")
    path = codes / "a.nii.gz.vqc"
    path.write_bytes(pack(type(one)(**{**vars(one), "header": other.header}), model))

    assert run("decode", "--model", trained, path, "--out", tmp_path / "made") == 2
    assert "a.nii.gz.vqc: its header has another size" in capsys.readouterr().err


def test_decoding_beside_the_originals_does_not_change_them(
    scans: Path, trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = (scans / "a.nii.gz").read_bytes()
    assert run("encode", "--model", trained, scans / "a.nii.gz", "--out", scans) == 0
    codes = scans / "a.nii.gz.vqc"

    assert run("decode", "--model", trained, codes, "--out", scans) == 2
    assert "another file is there already; give another --out" in capsys.readouterr().err
    assert (scans / "a.nii.gz").read_bytes() == before
    for _ in range(2):
        assert run("decode", "--model", trained, codes, "--out", tmp_path / "made") == 0


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("scan.nii", "not a coded scan; its name should end in .vqc"),
        ("scan.vqc", "scan.vqc: rename it to end in .nii.vqc or .nii.gz.vqc"),
        ("absent.vqc", "no such file or folder"),
    ],
)
def test_a_file_with_another_suffix_is_refused_before_the_model_is_opened(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, message: str
) -> None:
    if "absent" not in name:
        (tmp_path / name).write_bytes(b"x")

    assert run("decode", "--model", "m", tmp_path / name, "--out", tmp_path / "o") == 2
    assert message in capsys.readouterr().err
