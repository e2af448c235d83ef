import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from vqvae.config import DataConfig, PhantomConfig
from vqvae.data.intensity import scale
from vqvae.data.layout import SPLITS, SliceName
from vqvae.data.nifti import read_slice
from vqvae.data.splits import inspect, open_split
from vqvae.errors import InputError

CONFIG = PhantomConfig(
    train_patients=1,
    validate_patients=1,
    test_patients=1,
    volumes=1,
    slices=3,
    height=32,
    width=32,
)


def test_images_are_the_scaled_slices(phantom: Path, tmp_path: Path) -> None:
    split = open_split(DataConfig(root=phantom, cache=tmp_path), "train")
    assert len(split) == 2 * 2 * 6
    assert [group.images.shape for group in split.groups] == [(18, 64, 32), (6, 64, 36)]
    for group in split.groups:
        assert isinstance(group.images, np.memmap)
        assert group.images.dtype == np.uint16
        assert list(group.names) == sorted(group.names)
    name = split.groups[1].names[1]
    folder = phantom / "keras_slices_data" / "keras_slices_train"
    expected, _ = scale(read_slice(folder / f"{name.stem()}.nii.gz").pixels)
    np.testing.assert_allclose(split.groups[1].images[1] / 65535, expected, atol=1e-5)


def test_every_irregular_file_is_read(phantom: Path, tmp_path: Path) -> None:
    config = DataConfig(root=phantom, cache=tmp_path)
    found = {name for split in SPLITS for g in open_split(config, split).groups for name in g.names}
    assert found == {
        SliceName(case, week, number)
        for case in (4, 5, 6, 7)
        for week in range(2)
        for number in range(6)
    }


def test_a_copy_has_the_same_inventory_and_fingerprint(phantom: Path, tmp_path: Path) -> None:
    original = inspect(DataConfig(root=phantom))
    assert original.slices == {"train": 24, "validate": 12, "test": 12}
    assert original.patients == {"train": (4, 5), "validate": (6,), "test": (7,)}
    shutil.copytree(phantom / "keras_slices_data", tmp_path / "copy")
    copy = DataConfig(root=tmp_path / "copy")
    assert inspect(copy).fingerprint == original.fingerprint
    next((tmp_path / "copy" / "keras_slices_test").glob("*.nii")).write_bytes(b"shorter")
    assert inspect(copy).fingerprint != original.fingerprint


def test_a_bad_slice_is_an_error_with_its_name(tiny: DataConfig) -> None:
    bad = tiny.root / "keras_slices_train" / "case_004_week_0_slice_2.nii.gz"
    bad.write_bytes(bad.read_bytes()[:60])
    with pytest.raises(InputError, match=r"case_004_week_0_slice_2.nii.gz: not a readable"):
        open_split(tiny, "train")
    assert len(open_split(tiny, "test")) == 2


def test_a_skipped_slice_is_logged_and_recorded(
    tiny: DataConfig, write: Callable[..., Path], caplog: pytest.LogCaptureFixture
) -> None:
    folder = tiny.root / "keras_slices_train"
    (folder / "case_004_week_0_slice_2.nii.gz").write_bytes(b"nothing")
    write(folder / "average.nii")
    config = tiny.model_copy(update={"on_bad_slice": "skip"})
    for _ in range(2):  # from the files, then from the cache
        caplog.clear()
        split = open_split(config, "train")
        assert len(split) == 1
        assert "average.nii" in split.skipped[0]
        assert "case_004_week_0_slice_2" in split.skipped[1]
        assert "slice_2" in caplog.text
    with pytest.raises(InputError, match=r"average.nii: not named like a slice"):
        open_split(tiny, "train")


def test_a_split_without_any_readable_slice_is_an_error(tiny: DataConfig) -> None:
    for file in (tiny.root / "keras_slices_test").iterdir():
        file.write_bytes(b"nothing")
    with pytest.raises(InputError, match="no slice of test can be read"):
        open_split(tiny.model_copy(update={"on_bad_slice": "skip"}), "test")


def test_patients_in_two_splits_are_refused(tiny: DataConfig, write: Callable[..., Path]) -> None:
    write(tiny.root / "keras_slices_test" / "case_005_week_9_slice_0.nii")
    with pytest.raises(InputError, match="005"):
        open_split(tiny, "train")
    with pytest.raises(InputError, match="005"):
        inspect(tiny)
