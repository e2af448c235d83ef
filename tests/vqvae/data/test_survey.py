from collections.abc import Callable
from pathlib import Path

import numpy as np

from vqvae.data.config import DataConfig
from vqvae.data.survey import survey


def test_a_sound_set(phantom: Path) -> None:
    result = survey(phantom)
    assert result.problems == ()
    train = result.splits["train"]
    assert (train.slices, train.volumes, train.patients) == (24, 4, 2)
    assert train.shapes == {(64, 32): 18, (64, 36): 6}
    assert train.dtypes == {"uint16": 24}
    assert list(train.percentiles) == sorted(train.percentiles)


def test_everything_wrong_is_named_at_once(tiny: DataConfig, write: Callable[..., Path]) -> None:
    train, test = tiny.root / "keras_slices_train", tiny.root / "keras_slices_test"
    (train / "case_004_week_0_slice_2.nii.gz").write_bytes(b"nothing")
    write(train / "average.nii")
    write(train / "case_004_week_0_slice_3.nii", np.zeros((8, 4), np.int16))
    write(test / "case_004_week_9_slice_0.nii")
    for file in (tiny.root / "keras_slices_validate").iterdir():
        file.unlink()
    result = survey(tiny.root)
    expected = ("validate holds no", "004 (train and test)", "average.nii", "slice_2", "slice_3")
    assert len(result.problems) == len(expected)
    assert all(text in problem for text, problem in zip(expected, result.problems, strict=True))
    assert result.splits["train"].slices == 1
