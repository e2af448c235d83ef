import gzip
from collections.abc import Callable
from pathlib import Path

import nibabel
import numpy as np
import pytest

from vqvae.data.nifti import read_geometry, read_slice, write_slice
from vqvae.errors import InputError

AFFINE = np.array([[0, -1.5, 0, 7], [2, 0, 0, -3], [0, 0, 4, 11], [0, 0, 0, 1.0]])
PIXELS = np.arange(48, dtype=np.int16).reshape(8, 6)


@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz"])
@pytest.mark.parametrize("shape", [(8, 6), (8, 6, 1), (8, 6, 1, 1)])
def test_geometry_and_axes_survive_a_round_trip(
    tmp_path: Path, write: Callable[..., Path], name: str, shape: tuple[int, ...]
) -> None:
    scan = read_slice(write(tmp_path / name, PIXELS.reshape(shape), AFFINE))
    assert scan.pixels.dtype == np.float32
    np.testing.assert_array_equal(scan.pixels, PIXELS)
    write_slice(tmp_path / f"back_{name}", scan.pixels / 3, scan)
    back = nibabel.load(tmp_path / f"back_{name}")
    assert back.shape == shape
    np.testing.assert_allclose(back.affine, AFFINE)
    np.testing.assert_allclose(back.get_fdata().reshape(8, 6), PIXELS / 3, rtol=1e-6)


def test_slope_and_intercept_are_applied(tmp_path: Path) -> None:
    image = nibabel.Nifti1Image(PIXELS, AFFINE)
    image.header.set_slope_inter(0.5, 10)
    content = bytearray(image.to_bytes())
    content[112:120] = np.array([0.5, 10], "<f4").tobytes()
    (tmp_path / "a.nii").write_bytes(content)
    np.testing.assert_allclose(read_slice(tmp_path / "a.nii").pixels, PIXELS * 0.5 + 10)


def test_nifti_2_and_a_file_in_a_folder_of_its_name_are_read(tmp_path: Path) -> None:
    (tmp_path / "a.nii").mkdir()
    nibabel.save(nibabel.Nifti2Image(PIXELS, AFFINE), tmp_path / "a.nii" / "a.nii")
    scan = read_slice(tmp_path / "a.nii")
    write_slice(tmp_path / "b.nii", scan.pixels, scan)
    np.testing.assert_array_equal(read_slice(tmp_path / "b.nii").pixels, PIXELS)


@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz"])
@pytest.mark.parametrize("keep", [0, 1, 200, 0.9])
def test_a_truncated_file_is_named(
    tmp_path: Path, write: Callable[..., Path], name: str, keep: float
) -> None:
    noise = np.random.default_rng(0).integers(0, 999, (64, 64)).astype(np.int16)
    path = write(tmp_path / name, noise)
    content = path.read_bytes()
    path.write_bytes(content[: int(keep * len(content)) if 0 < keep < 1 else int(keep)])
    with pytest.raises(InputError, match=f"{name}: not a readable NIfTI file") as caught:
        read_slice(path)
    assert "\n" not in str(caught.value)


def test_files_that_are_not_slices_are_named(tmp_path: Path, write: Callable[..., Path]) -> None:
    (tmp_path / "text.nii").write_text("no scan " * 100)
    (tmp_path / "text.nii.gz").write_bytes(gzip.compress(b"no scan " * 100))
    for name in ("text.nii", "text.nii.gz", "absent.nii"):
        with pytest.raises(InputError, match=name):
            read_slice(tmp_path / name)
    volume = write(tmp_path / "volume.nii", np.zeros((4, 4, 3), np.int16))
    with pytest.raises(InputError, match=r"volume.nii: shape \(4, 4, 3\) is not one 2-D slice"):
        read_slice(volume)
    holes = write(tmp_path / "holes.nii", np.full((4, 4), np.nan, np.float32))
    with pytest.raises(InputError, match=r"holes.nii: some pixels are not finite"):
        read_slice(holes)
    waves = write(tmp_path / "waves.nii", np.zeros((4, 4), np.complex64))
    with pytest.raises(InputError, match=r"waves.nii: pixels of type complex64"):
        read_slice(waves)


def test_pixels_of_another_shape_are_refused(tmp_path: Path, write: Callable[..., Path]) -> None:
    scan = read_slice(write(tmp_path / "a.nii"))
    with pytest.raises(ValueError, match="do not fit"):
        write_slice(tmp_path / "b.nii", np.zeros((3, 3)), scan)


def test_the_shape_has_no_trailing_axes(tmp_path: Path, write: Callable[..., Path]) -> None:
    assert read_geometry(write(tmp_path / "a.nii", PIXELS[:, :, None]))[0] == (8, 6)
    assert read_geometry(write(tmp_path / "a.nii.gz", PIXELS[:, :, None]))[0] == (8, 6)


def test_a_shape_is_read_for_any_suffix(tmp_path: Path, write: Callable[..., Path]) -> None:
    content = write(tmp_path / "a.nii", PIXELS).read_bytes()
    (tmp_path / "zipped.nii").write_bytes(gzip.compress(content))
    (tmp_path / "plain.nii.gz").write_bytes(content)
    nibabel.save(nibabel.Nifti2Image(PIXELS, AFFINE), tmp_path / "second.nii")

    for name in ("zipped.nii", "plain.nii.gz", "second.nii"):
        shape = read_geometry(tmp_path / name)[0]
        assert shape == read_slice(tmp_path / name).pixels.shape == (8, 6)
    (tmp_path / "text.nii").write_text("no scan " * 100)
    for name in ("text.nii", "absent.nii"):
        with pytest.raises(InputError, match=f"{name}: not a readable NIfTI file"):
            read_geometry(tmp_path / name)
