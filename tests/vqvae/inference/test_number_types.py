"""Scans of every number type: what is written has the intensities that nibabel reads."""

from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest

from tests.vqvae.cli.test_main import run
from tests.vqvae.conftest import blobs
from vqvae.evaluation.comparison import ReconstructedSlice
from vqvae.inference import reconstruct as reconstructing

PIXELS = np.stack([np.rint(blobs(seed, 32, 24) / 4) + 20 for seed in range(2)], axis=2)
"""Whole numbers from 20 to about 245, [H, W, S]."""

# Name: type on disk, a number that is added, slope, intercept, and the type of the result.
STORED: dict[str, tuple[str, float, float, float, str]] = {
    "int8": ("i1", -128, 1, 0, "f4"),
    "uint8": ("u1", 0, 1, 0, "f4"),
    "int16": ("i2", 0, 1, 0, "f4"),
    "int16, scaled": ("i2", 0, 0.25, -1024, "f4"),
    "int16, negative slope": ("i2", 0, -2, 1000, "f4"),
    "uint16": ("u2", 60_000, 1, 0, "f4"),
    "int32": ("i4", 0, 1, 0, "f4"),
    "int32 beyond 2^24": ("i4", 2**30, 1, 0, "f8"),
    "uint32 beyond 2^31": ("u4", 2**31, 1, 0, "f8"),
    "int64": ("i8", 0, 1, 0, "f4"),
    "int64 beyond 2^24": ("i8", -(2**40), 1, 0, "f8"),
    "uint64": ("u8", 0, 1, 0, "f4"),
    "uint64 beyond 2^24": ("u8", 2**50, 1, 0, "f8"),
    "float32": ("f4", 0, 1, 0, "f4"),
    "float64": ("f8", 0, 1, 0, "f4"),
    "float64 with an offset": ("f8", 3e7 + 0.25, 1, 0, "f8"),
    "float32, scaled to very small numbers": ("f4", 0, 1e-20, 0, "f4"),
}


def written(path: Path, name: str, order: str = "<") -> Path:
    kind, added, slope, inter, _ = STORED[name]
    dtype = np.dtype(kind).newbyteorder(order)
    header = nibabel.Nifti1Header(endianness=order)
    header.set_data_dtype(dtype)
    values = PIXELS.astype(dtype) + np.array(added, dtype) if added else PIXELS.astype(dtype)
    image = nibabel.Nifti1Image(values, np.diag([1, 2, 3, 1]), header)
    image.header.set_slope_inter(slope, inter)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(image.to_bytes())
    return path


def without_error(_: object, scaled: Any) -> ReconstructedSlice:
    """A perfect model."""
    return ReconstructedSlice(scaled, 48, 1.0, 99.0)


@pytest.mark.parametrize("order", ["<", ">"])
def test_a_scan_keeps_its_intensities_but_for_the_error_of_the_model(
    trained: Path, tmp_path: Path, order: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in STORED:
        written(tmp_path / "in" / f"{name}.nii", name, order)
    monkeypatch.setattr(reconstructing, "reconstruct_slice", without_error)

    assert run("reconstruct", "--model", trained, tmp_path / "in", "--out", tmp_path / "out") == 0

    for name, (*_, kind) in STORED.items():
        given, made = (nibabel.load(tmp_path / part / f"{name}.nii") for part in ("in", "out"))
        expected, found = (np.asarray(image.dataobj, np.float64) for image in (given, made))
        assert made.get_data_dtype() == np.dtype(kind).newbyteorder(order), name
        differences = np.minimum(expected, np.percentile(expected, 99.9, axis=(0, 1))) - found
        rounding = np.finfo(kind).eps * np.abs(expected).max()
        assert np.abs(differences).max() <= 2e-6 * np.ptp(expected) + rounding, name


def test_decoding_gives_the_bytes_of_the_reconstruction_for_each_type(
    trained: Path, tmp_path: Path
) -> None:
    scans, codes, made, expected = (tmp_path / name for name in ("in", "codes", "made", "expected"))
    for name in STORED:
        written(scans / f"{name}.nii", name)

    assert run("encode", "--model", trained, scans, "--out", codes) == 0
    assert run("decode", "--model", trained, codes, "--out", made) == 0
    assert run("reconstruct", "--model", trained, scans, "--out", expected) == 0

    assert len(list(made.iterdir())) == len(STORED)
    for name in STORED:
        assert (made / f"{name}.nii").read_bytes() == (expected / f"{name}.nii").read_bytes(), name
