from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tests.vqvae.data.importing.named import files
from vqvae.data.importing.sources import (
    Grid,
    find_files,
    read_grids,
    slice_number,
    volumes_of,
    week_of,
)
from vqvae.errors import InputError


def test_files_are_found_in_files_and_folders(tmp_path: Path, write: Callable[..., Path]) -> None:
    write(tmp_path / "in" / "deep" / "a.nii.gz")
    write(tmp_path / "in" / "b.nii" / "b.nii")
    (tmp_path / "in" / "notes.txt").write_text("no scan")
    (tmp_path / "empty").mkdir()
    found = find_files([tmp_path / "in", tmp_path / "in" / "deep" / "a.nii.gz"])
    assert [file.relative for file in found.files] == ["b.nii", "deep/a.nii.gz"]
    with pytest.raises(InputError, match=r"empty holds no .nii"):
        find_files([tmp_path / "empty"])
    with pytest.raises(InputError, match="absent does not exist"):
        find_files([tmp_path / "absent"])


def test_slices_of_a_folder_are_one_volume(tmp_path: Path, write: Callable[..., Path]) -> None:
    for number in (10, 2, 1):
        write(tmp_path / f"p1_T2_slice_{number}_v3.nii")
    write(tmp_path / "p1_A1.nii", np.zeros((4, 4, 2), np.int16))
    write(tmp_path / "p1_A2.nii", np.zeros((4, 4, 2), np.int16))
    groups = volumes_of(read_grids(find_files([tmp_path])).files)
    assert [[slice_number(file) for file in group] for group in groups] == [[1], [2], [1, 2, 10]]


def test_weeks_are_read_from_names() -> None:
    assert [week_of(file) for file in files("Case_004_Week3.nii", "a_week_12.nii", "a.nii")] == [
        3,
        12,
        None,
    ]


def test_headers_that_cannot_be_read_are_named(tmp_path: Path, write: Callable[..., Path]) -> None:
    write(tmp_path / "p1.nii.gz", np.zeros((4, 5, 1), np.int16))
    (tmp_path / "p2.nii.gz").write_bytes(b"no scan")
    (tmp_path / "p3").symlink_to("gone")
    found = read_grids(find_files([tmp_path]))

    assert [file.path.name for file in found.files] == ["p1.nii.gz"]
    assert found.files[0].grid is not None
    assert found.files[0].grid.shape == (4, 5)
    dead, damaged = found.failed
    assert dead == f"{tmp_path}/p3: a link to gone, which does not exist"
    assert damaged.startswith(f"{tmp_path}/p2.nii.gz: not a readable NIfTI file")


def test_files_of_several_volumes_have_no_grid_in_common() -> None:
    grid = Grid((20, 16, 4, 2), np.eye(4))
    assert not grid.matches(Grid((20, 16, 4, 2), np.eye(4)))


@pytest.mark.parametrize(
    ("shape", "shift", "matches"),
    [
        ((20, 16, 4), 0.0, True),
        ((20, 16, 4), 0.06, True),
        ((20, 16, 4), 0.2, False),
        ((16, 20, 4), 0.0, False),
        ((20, 16), 0.0, False),
    ],
)
def test_grids_match_to_a_tenth_of_a_pixel(
    shape: tuple[int, ...], shift: float, *, matches: bool
) -> None:
    affine = np.diag([0.7, 0.9, 3, 1.0])
    moved = affine.copy()
    moved[0, 3] = shift

    assert Grid((20, 16, 4), affine).matches(Grid(shape, moved)) is matches
