from pathlib import Path

import nibabel
import numpy as np
import pytest
from numpy.typing import NDArray

from vqvae.data.importing.geometry import Axis, Cut, Fit, Size, cut, fitted
from vqvae.errors import InputError

ANYWHERE = Path("scan.nii")


def oblique() -> nibabel.Nifti1Image:
    """A slightly oblique image with axes left, back, head, as most scanners write them."""
    turn = np.array([[0.98, 0.17, 0.1], [-0.17, 0.98, 0], [-0.1, 0, 0.99]])
    affine = np.eye(4)
    affine[:3, :3] = turn @ np.diag([-0.7, -0.9, 3.0])
    affine[:3, 3] = 31, -12, 5
    values = np.random.default_rng(0).integers(0, 1000, (10, 12, 5)).astype(np.int16)
    return nibabel.Nifti1Image(values, affine)


def world(affine: NDArray[np.float64], index: tuple[float, ...]) -> NDArray[np.float64]:
    position: NDArray[np.float64] = affine[:3, :3] @ np.asarray(index, float) + affine[:3, 3]
    return position


@pytest.mark.parametrize("axis", list(Axis))
def test_every_voxel_keeps_its_position_in_the_scanner(axis: Axis) -> None:
    image = oblique()
    values = np.asarray(image.dataobj)
    found = 0
    for piece in cut(image, ANYWHERE, axis):
        for row, column in ((0, 0), (2, 3), (4, 4)):
            position = np.append(world(piece.affine, (row, column, 0)), 1)
            index = (np.linalg.inv(image.affine) @ position)[:3]
            np.testing.assert_allclose(index, np.rint(index), atol=1e-4)
            assert values[tuple(np.rint(index).astype(int))] == piece.pixels[row, column]
            found += 1
    assert found >= 15


def test_axial_slices_run_upwards_and_right_is_a_row() -> None:
    pieces = cut(oblique(), ANYWHERE, Axis.AXIAL)
    assert len(pieces) == 5
    assert pieces[0].pixels.shape == (10, 12)
    assert pieces[1].affine[2, 3] > pieces[0].affine[2, 3]
    assert pieces[0].affine[0, 0] > 0  # rows towards the right
    assert pieces[0].affine[1, 1] > 0  # columns towards the front


@pytest.mark.parametrize("size", [Size(16, 20), Size(8, 8), Size(9, 31), Size(15, 8)])
def test_cropping_and_padding_keep_positions(size: Size) -> None:
    piece = cut(oblique(), ANYWHERE, Axis.AXIAL)[2]
    result = fitted(piece, size, Fit.CROP, background=-5)
    assert result.pixels.shape == (size.height, size.width)
    for row, column in np.argwhere(result.pixels != -5)[::7]:
        position = np.append(world(result.affine, (row, column, 0)), 1)
        old = np.rint((np.linalg.inv(piece.affine) @ position)[:2]).astype(int)
        assert piece.pixels[tuple(old)] == result.pixels[row, column]
    assert (result.pixels != -5).sum() == min(10, size.height) * min(12, size.width)


@pytest.mark.parametrize("size", [Size(40, 48), Size(20, 64), Size(100, 90)])
def test_resampling_keeps_positions_and_proportions(size: Size) -> None:
    x, y = np.meshgrid(np.arange(60.0), np.arange(80.0), indexing="ij")
    blob = np.exp(-(((x - 20) / 8) ** 2) - ((y - 50) / 8) ** 2).astype(np.float32)
    affine = np.array([[0.8, 0, 0, -20], [0, 1.1, 0, 4], [0, 0, 3, 9], [0, 0, 0, 1.0]])
    result = fitted(Cut(blob, affine), size, Fit.RESAMPLE, background=0)
    assert result.pixels.shape == (size.height, size.width)
    spacing = np.linalg.norm(result.affine[:3, :2], axis=0)
    assert spacing[0] == pytest.approx(spacing[1])
    peak = np.unravel_index(result.pixels.argmax(), result.pixels.shape)
    position = world(result.affine, (float(peak[0]), float(peak[1]), 0))
    np.testing.assert_allclose(position, world(affine, (20, 50, 0)), atol=0.75 * spacing[0])


def test_a_2d_file_is_a_single_slice() -> None:
    image = nibabel.Nifti1Image(np.ones((4, 6), np.int16), np.diag([1, 2, 3, 1]))
    (piece,) = cut(image, ANYWHERE, Axis.CORONAL)
    assert piece.pixels.shape == (4, 6)
    np.testing.assert_array_equal(piece.affine, image.affine)


def test_more_axes_are_refused() -> None:
    image = nibabel.Nifti1Image(np.ones((4, 6, 3, 2), np.int16), np.eye(4))
    with pytest.raises(InputError, match=r"scan.nii: shape \(4, 6, 3, 2\) is not one volume"):
        cut(image, ANYWHERE, Axis.AXIAL)


def test_sizes_are_read() -> None:
    assert Size.parse("256x128") == Size(256, 128)
    for text in ("256", "256x", "4x4", "256x128x1", "-8x8"):
        with pytest.raises(InputError, match="write HEIGHTxWIDTH"):
            Size.parse(text)
