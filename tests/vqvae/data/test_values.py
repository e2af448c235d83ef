from pathlib import Path

import nibabel
import numpy as np
import pytest
from numpy.typing import DTypeLike, NDArray

from vqvae.data import intensity
from vqvae.data.nifti import read_scan, read_slice, write_slice
from vqvae.errors import InputError

ANYWHERE = np.diag([1, 2, 3, 1.0])
COUNTS = np.arange(12 * 14).reshape(12, 14)


def stored(path: Path, values: NDArray[np.generic], dtype: DTypeLike) -> Path:
    header = nibabel.Nifti1Header()
    header.set_data_dtype(dtype)
    nibabel.Nifti1Image(values.astype(dtype), ANYWHERE, header).to_filename(path)
    return path


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("kind", ["i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8", "f4", "f8"])
def test_every_type_of_number_is_read(tmp_path: Path, kind: str, order: str) -> None:
    values = COUNTS - 40 if kind == "i1" else COUNTS
    path = stored(tmp_path / "a.nii", values, f"{order}{kind}")

    scan = read_slice(path)

    assert scan.pixels.dtype == np.float32
    np.testing.assert_array_equal(scan.pixels, values)


@pytest.mark.parametrize(
    ("dtype", "offset"),
    [("i4", 2**30), ("u4", 2**31), ("i8", -(2**50)), ("u8", 2**52), ("f8", 3e7), ("f8", -1e12)],
)
def test_numbers_that_float32_would_round_are_float64(
    tmp_path: Path, dtype: str, offset: float
) -> None:
    values = COUNTS + np.array(offset, dtype)

    scan = read_scan(stored(tmp_path / "a.nii", values, dtype))

    assert scan.pixels.dtype == np.float64
    np.testing.assert_array_equal(scan.pixels[:, :, 0], values)


def test_integers_that_float64_would_round_are_named(tmp_path: Path) -> None:
    path = stored(tmp_path / "a.nii", COUNTS + 2**60, "i8")
    with pytest.raises(InputError, match=r"a.nii: integers around 1152.* subtract an offset"):
        read_slice(path)


@pytest.mark.parametrize("factor", [1.0, 1e-12, 1e-42, 1e27])
def test_small_and_large_numbers_keep_their_precision(tmp_path: Path, factor: float) -> None:
    scan = read_slice(stored(tmp_path / "a.nii", COUNTS * factor, "f8"))

    width = 167 * factor
    np.testing.assert_allclose(scan.pixels, COUNTS * factor, rtol=0, atol=1e-6 * width)


@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz"])
def test_scaling_and_writing_keep_a_large_offset(tmp_path: Path, name: str) -> None:
    scan = read_slice(stored(tmp_path / "a.nii", COUNTS + 3e7, "f8"))
    scaled, window = intensity.scale(scan.pixels)

    restored = intensity.restore(scaled, window, scan.pixels.dtype)
    write_slice(tmp_path / f"b_{name}", restored, scan)

    written = nibabel.load(tmp_path / f"b_{name}")
    assert written.get_data_dtype() == np.float64
    clipped = np.minimum(COUNTS + 3e7, window.high)
    np.testing.assert_allclose(np.asarray(written.dataobj), clipped, rtol=0, atol=1e-4)
