from collections.abc import Callable
from pathlib import Path

import numpy as np

from vqvae.config import DataConfig
from vqvae.data.importing.survey import survey
from vqvae.data.splits import open_split


def test_a_valid_data_set_has_no_problems(phantom: Path) -> None:
    result = survey(phantom)
    assert result.problems == ()
    train = result.splits["train"]
    assert (train.slices, train.volumes, train.patients) == (24, 4, 2)
    assert train.shapes == {(64, 32): 18, (64, 36): 6}
    assert train.dtypes == {"uint16": 24}
    assert list(train.percentiles) == sorted(train.percentiles)


def test_all_problems_are_listed_at_once(tiny: DataConfig, write: Callable[..., Path]) -> None:
    train, test = tiny.root / "keras_slices_train", tiny.root / "keras_slices_test"
    (train / "case_004_week_0_slice_2.nii.gz").write_bytes(b"nothing")
    write(train / "average.nii")
    write(train / "case_004_week_0_slice_3.nii", np.ones((8, 40), np.int16))
    write(train / "case_004_week_0_slice_4.nii", np.ones((16, 12), np.int16))
    write(test / "case_004_week_9_slice_0.nii")
    for file in (tiny.root / "keras_slices_validate").iterdir():
        file.unlink()
    result = survey(tiny.root)
    expected = ("validate holds no", "004 (train and test)", "average.nii", "slice_2", "slice_3")
    assert len(result.problems) == len(expected)
    assert all(text in problem for text, problem in zip(expected, result.problems, strict=True))
    assert result.splits["train"].slices == 2
    assert len(result.oddities) == 1
    assert "slice_4.nii: all pixels are 1" in result.oddities[0]


def test_a_blank_slice_is_odd_and_can_be_trained_on(
    tiny: DataConfig, write: Callable[..., Path]
) -> None:
    name = "case_004_week_0_slice_3.nii"
    write(tiny.root / "keras_slices_train" / name, np.full((16, 12), 7, np.int16))

    result = survey(tiny.root)

    assert result.problems == ()
    assert f"{name}: all pixels are 7" in result.oddities[0]
    assert len(open_split(tiny, "train")) == 3


def test_sizes_of_segmentations_and_slices_are_compared(
    tiny: DataConfig, write: Callable[..., Path]
) -> None:
    folder = tiny.root / "keras_slices_seg_test"
    write(folder / "seg_006_week_0_slice_2.nii.gz", np.ones((16, 11), np.float32))
    write(folder / "seg_006_week_0_slice_11.nii.gz", np.ones((16, 12), np.float32))
    damaged = write(tiny.root / "keras_slices_seg_train" / "seg_004_week_0_slice_2.nii.gz")
    damaged.write_bytes(damaged.read_bytes()[:-20])
    halves = np.full((16, 12), 0.5, np.float32)
    write(tiny.root / "keras_slices_seg_train" / "seg_004_week_0_slice_10.nii.gz", halves)

    result = survey(tiny.root)

    assert [result.splits[split].segmented for split in ("train", "validate", "test")] == [2, 0, 1]
    unreadable, size = result.problems
    assert "seg_004_week_0_slice_2.nii.gz: not a readable NIfTI file" in unreadable
    assert "slice_2.nii.gz: a segmentation of 16x11 pixels for a slice of 16x12" in size
    rounded, unpaired, without = result.oddities
    assert "slice_10.nii.gz: some labels are not whole numbers" in rounded
    assert "slice_11.nii.gz: a segmentation without a slice" in unpaired
    assert without == "test: 1 slice has no segmentation; these get no scores of organs"
