import csv
from pathlib import Path

import nibabel
import numpy as np
import pytest
from PIL import Image

from tests.vqvae.cli.test_main import run
from tests.vqvae.conftest import blobs, write_nifti


def test_a_reconstruction_has_the_geometry_and_intensities_of_its_scan(
    trained: Path, tmp_path: Path
) -> None:
    pixels = blobs(7, 33, 26)
    scan = write_nifti(tmp_path / "in" / "scan.nii.gz", pixels[..., None])

    assert run("reconstruct", "--model", trained, scan, "--out", tmp_path / "out") == 0

    given, made = nibabel.load(scan), nibabel.load(tmp_path / "out" / "scan.nii.gz")
    assert made.shape == given.shape
    np.testing.assert_array_equal(made.affine, given.affine)
    values = made.get_fdata()
    assert pixels.min() - 1e-3 <= values.min()
    assert values.max() <= np.percentile(pixels, 99.9) + 1e-3
    with Image.open(tmp_path / "out" / "scan.png") as figure:
        assert figure.width > 200


def test_a_scan_is_never_overwritten(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    scan = write_nifti(tmp_path / "scan.nii", blobs(1, 32, 24))

    assert run("reconstruct", "--model", trained, scan, "--out", tmp_path) == 2
    assert "would overwrite it" in capsys.readouterr().err

    other = write_nifti(tmp_path / "more" / "scan.nii", blobs(1, 32, 24))
    assert run("reconstruct", "--model", trained, scan, other, "--out", tmp_path / "out") == 2
    assert "would both be written" in capsys.readouterr().err


def test_a_bad_scan_does_not_stop_the_others(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    scans = tmp_path / "in"
    write_nifti(scans / "a_holes.nii", np.full((32, 24), np.nan, np.float32))
    write_nifti(scans / "b_four_axes.nii", np.zeros((32, 24, 3, 2), np.float32))
    write_nifti(scans / "c_small.nii", blobs(1, 24, 10))
    whole = write_nifti(scans / "d_cut.nii.gz", blobs(1, 32, 24))
    whole.write_bytes(whole.read_bytes()[:100])
    write_nifti(scans / "e [bold] good.nii.gz", blobs(2, 32, 24))

    assert run("reconstruct", "--model", trained, scans, "--out", tmp_path / "out") == 1

    shown = capsys.readouterr()
    lines = shown.err.splitlines()
    assert len(lines) == 5
    names = (
        "a_holes",
        "b_four_axes",
        "c_small",
        "d_cut",
        "4 of 5 files failed (listed above)",
    )
    assert all(name in line for name, line in zip(names, lines, strict=True))
    rows = list(csv.DictReader((tmp_path / "out" / "scores.csv").read_text().splitlines()))
    assert [Path(row["source"]).name for row in rows] == ["e [bold] good.nii.gz"]
    assert "[bold]" in "".join(shown.out.split())


def test_scans_that_differ_only_in_their_suffix_have_one_figure_each(
    trained: Path, tmp_path: Path
) -> None:
    for name in ("s.nii", "s.nii.gz", "t.nii"):
        write_nifti(tmp_path / "in" / name, blobs(1, 32, 24))

    assert run("reconstruct", "--model", trained, tmp_path / "in", "--out", tmp_path / "out") == 0

    figures = sorted(path.name for path in (tmp_path / "out").glob("*.png"))
    assert figures == ["s.nii.gz.png", "s.nii.png", "t.png"]


def test_earlier_reconstructions_are_not_used_as_inputs(trained: Path, tmp_path: Path) -> None:
    write_nifti(tmp_path / "scan.nii", blobs(1, 32, 24))

    for _ in range(2):
        assert run("reconstruct", "--model", trained, tmp_path, "--out", tmp_path / "out") == 0

    found = sorted(path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*.nii"))
    assert found == ["out/scan.nii", "scan.nii"]
