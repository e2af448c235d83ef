from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from vqvae.data.importing.sources import (
    File,
    find_files,
    group_by_patient,
    slice_number,
    volumes_of,
    week_of,
)
from vqvae.errors import InputError


def files(*names: str) -> tuple[File, ...]:
    return tuple(File(Path(name), name) for name in names)


@pytest.mark.parametrize(
    ("names", "patients"),
    [
        (("patient01_study1_T1W.nii.gz", "patient01_study2_T2W.nii.gz"), ["patient01"]),
        (("sub-01/ses-1/sub-01_T1w.nii", "sub-02/ses-1/sub-02_T1w.nii"), ["sub-01", "sub-02"]),
        (("Case_004_Week0_LFOV.nii.gz", "Case_004_Week2_LFOV.nii.gz"), ["Case_004"]),
        (("017/T2/series3.nii", "p018/T2/series3.nii"), None),
        (("12_T2.nii", "13_T2.nii"), None),
        (("sub-OAS1a/b1.nii", "sub-OAS2a/b1.nii"), ["sub-OAS1a", "sub-OAS2a"]),
        (("a/P018/s3.nii", "a/P019/s3.nii"), ["P018", "P019"]),
        (("Prostate3T-01-0001.nii", "Prostate3T-01-0002.nii"), None),
        (("a.nii", "b.nii"), None),
    ],
)
def test_patients_are_guessed_from_names(
    names: tuple[str, ...], patients: list[str] | None
) -> None:
    if patients is None:
        with pytest.raises(InputError, match="give a regular expression with --patient"):
            group_by_patient(files(*names), None)
    else:
        found = group_by_patient(files(*names), None)
        assert found.guessed
        assert list(found.files) == patients


@pytest.mark.parametrize("pattern", [r"^([^_]+)_", r"(?P<patient>^[a-z]+)(_\d)", r"^[a-z]+"])
def test_a_given_pattern_finds_the_patients(pattern: str) -> None:
    found = group_by_patient(files("anna_1.nii", "anna_2.nii", "bert_1.nii"), pattern)
    assert {name: len(scans) for name, scans in found.files.items()} == {
        "anna": 2,
        "bert": 1,
    }
    assert found.cases() == {"anna": 1, "bert": 2}


def test_bad_patterns_are_refused() -> None:
    with pytest.raises(InputError, match="is not a regular expression"):
        group_by_patient(files("a.nii"), "(")
    with pytest.raises(InputError, match=r"finds no patient in b.nii"):
        group_by_patient(files("a1.nii", "b.nii"), r"a\d")


def test_patients_keep_their_numbers_if_these_differ() -> None:
    assert group_by_patient(files("p007_a.nii", "p012_b.nii"), "(p\\d+)").cases() == {
        "p007": 7,
        "p012": 12,
    }
    assert group_by_patient(files("a1.nii", "b1.nii"), r"\w\d").cases() == {"a1": 1, "b1": 2}


@pytest.mark.parametrize(
    ("names", "pattern"),
    [
        (("Case04_a.nii", "case04_b.nii"), None),
        (("sub-01/a.nii", "sub-1/b.nii"), None),
        (("Anna_007.nii", "anna_7.nii"), r"^[A-Za-z]+_\d+"),
    ],
)
def test_a_patient_with_two_spellings_is_one_patient(
    names: tuple[str, str], pattern: str | None
) -> None:
    found = group_by_patient(files(*names), pattern)

    assert [len(scans) for scans in found.files.values()] == [2]


def test_files_are_found_in_files_and_folders(tmp_path: Path, write: Callable[..., Path]) -> None:
    write(tmp_path / "in" / "deep" / "a.nii.gz")
    write(tmp_path / "in" / "b.nii" / "b.nii")
    (tmp_path / "in" / "notes.txt").write_text("no scan")
    (tmp_path / "empty").mkdir()
    found = find_files([tmp_path / "in", tmp_path / "in" / "deep" / "a.nii.gz"])
    assert [file.relative for file in found] == ["b.nii/b.nii", "deep/a.nii.gz"]
    with pytest.raises(InputError, match=r"empty holds no .nii"):
        find_files([tmp_path / "empty"])
    with pytest.raises(InputError, match="absent does not exist"):
        find_files([tmp_path / "absent"])


def test_slices_of_a_folder_are_one_volume(tmp_path: Path, write: Callable[..., Path]) -> None:
    for number in (10, 2, 1):
        write(tmp_path / f"p1_T2_slice_{number}_v3.nii")
    write(tmp_path / "p1_A1.nii", np.zeros((4, 4, 2), np.int16))
    write(tmp_path / "p1_A2.nii", np.zeros((4, 4, 2), np.int16))
    groups = volumes_of(find_files([tmp_path]))
    assert [[slice_number(file) for file in group] for group in groups] == [[1], [2], [1, 2, 10]]


def test_weeks_are_read_from_names() -> None:
    assert [week_of(file) for file in files("Case_004_Week3.nii", "a_week_12.nii", "a.nii")] == [
        3,
        12,
        None,
    ]
