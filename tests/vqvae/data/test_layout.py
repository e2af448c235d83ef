from collections.abc import Callable
from pathlib import Path

import pytest

from vqvae.config import DataConfig
from vqvae.data.layout import SliceName, find_base, list_splits
from vqvae.errors import InputError


def test_names_are_sorted_by_their_numbers(tiny: DataConfig) -> None:
    files = list_splits(tiny.root)["train"].files
    assert [file.name.slice for file in files] == [2, 10]
    names = [SliceName(4, 0, 10), SliceName(40, 0, 1), SliceName(4, 1, 0), SliceName(4, 0, 2)]
    assert sorted(names) == [
        SliceName(4, 0, 2),
        SliceName(4, 0, 10),
        SliceName(4, 1, 0),
        SliceName(40, 0, 1),
    ]


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
def test_a_name_is_parsed_from_its_file_name(suffix: str) -> None:
    name = SliceName(4, 12, 10)
    assert name.stem() == "case_004_week_12_slice_10"
    assert SliceName.parse(name.stem() + suffix) == name
    assert SliceName.parse(name.stem("seg") + suffix) is None
    assert name.patient == 4
    assert SliceName.parse("case_004_week_0.nii") is None


def test_the_folder_keras_slices_data_is_optional(tiny: DataConfig) -> None:
    direct = list_splits(tiny.root)
    inner = tiny.root.rename(tiny.root.with_name("moved"))
    tiny.root.mkdir()
    inner.rename(tiny.root / "keras_slices_data")
    below = list_splits(tiny.root)
    assert [file.relative for file in below["test"].files] == [
        file.relative for file in direct["test"].files
    ]


def test_a_file_in_a_folder_of_its_name_is_found(
    tiny: DataConfig, write: Callable[..., Path]
) -> None:
    name = "case_004_week_3_slice_1.nii"
    write(tiny.root / "keras_slices_train" / name / name)
    listing = list_splits(tiny.root)["train"]
    assert listing.files[-1].name == SliceName(4, 3, 1)
    assert listing.files[-1].path.is_file()
    assert listing.odd == ()


def test_patients_in_two_splits_are_named(tiny: DataConfig, write: Callable[..., Path]) -> None:
    write(tiny.root / "keras_slices_test" / "case_004_week_9_slice_0.nii")
    with pytest.raises(InputError, match=r"patients in two splits: 004 \(train and test\)"):
        list_splits(tiny.root)


def test_two_files_of_one_slice_are_refused(tiny: DataConfig, write: Callable[..., Path]) -> None:
    write(tiny.root / "keras_slices_train" / "case_4_week_0_slice_2.nii")
    with pytest.raises(InputError, match="are the same slice"):
        list_splits(tiny.root)


def test_missing_data_are_named_with_what_to_do(tiny: DataConfig, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"absent does not exist; .* 'vqvae data phantom"):
        list_splits(tmp_path / "absent")
    (tmp_path / "other" / "scans").mkdir(parents=True)
    with pytest.raises(InputError, match=r"other holds no keras_slices_train; .* in a new folder"):
        list_splits(tmp_path / "other")
    folder = tiny.root / "keras_slices_validate"
    for file in folder.iterdir():
        file.unlink()
    with pytest.raises(InputError, match=r"keras_slices_validate holds no file .* data import"):
        list_splits(tiny.root)
    folder.rmdir()
    with pytest.raises(InputError, match="keras_slices_validate does not exist"):
        list_splits(tiny.root)


def test_hidden_and_other_files_are_ignored(tiny: DataConfig, write: Callable[..., Path]) -> None:
    folder = tiny.root / "keras_slices_train"
    (folder / "._case_004_week_0_slice_2.nii.gz").write_text("left by a Mac")
    (folder / "notes.txt").write_text("left by a person")
    write(folder / "average.nii")
    listing = list_splits(tiny.root)["train"]
    assert len(listing.files) == 2
    assert listing.odd == ("keras_slices_train/average.nii: not named like a slice",)


def test_a_segmentation_among_the_images_is_odd(
    tiny: DataConfig, write: Callable[..., Path]
) -> None:
    write(tiny.root / "keras_slices_train" / "seg_004_week_0_slice_7.nii")

    odd = "keras_slices_train/seg_004_week_0_slice_7.nii: not named like a slice"
    assert list_splits(tiny.root)["train"].odd == (odd,)


def test_a_dead_link_is_called_one(tiny: DataConfig) -> None:
    folder = tiny.root / "keras_slices_train"
    name = "case_004_week_0_slice_7.nii.gz"
    (folder / name).symlink_to("/nowhere/x")
    (folder / "case_004_week_0_slice_8.nii.gz").mkdir()

    loop = "case_004_week_0_slice_9.nii.gz"
    (folder / loop).symlink_to(loop)
    dead = f"keras_slices_train/{name}: a link to /nowhere/x, which does not exist"
    back = f"keras_slices_train/{loop}: a link to {loop}, which leads back to itself"
    odd = "keras_slices_train/case_004_week_0_slice_8.nii.gz: not a file"
    assert list_splits(tiny.root)["train"].odd == (dead, odd, back)

    for file in list_splits(tiny.root)["train"].files:
        file.path.unlink()
    with pytest.raises(
        InputError,
        match=r"holds no file .* \(keras_slices_train.* a link to .*\); correct its files$",
    ):
        list_splits(tiny.root)


@pytest.mark.parametrize("split", ["train", "seg_test"])
def test_the_folder_of_a_split_means_the_data_set_above_it(tiny: DataConfig, split: str) -> None:
    assert find_base(tiny.root / f"keras_slices_{split}") == tiny.root.absolute()


def test_the_working_folder_and_a_link_may_be_the_folder_of_a_split(
    tiny: DataConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "train").symlink_to(tiny.root / "keras_slices_train")
    assert find_base(tmp_path / "train") == tiny.root.absolute()
    monkeypatch.chdir(tiny.root / "keras_slices_train")
    assert find_base(Path()) == tiny.root.absolute()


def test_a_file_is_not_called_a_missing_folder(tmp_path: Path) -> None:
    (tmp_path / "set.toml").touch()
    with pytest.raises(InputError, match=r"set\.toml is a file, not a folder; name the folder of"):
        find_base(tmp_path / "set.toml")
