import pytest

from tests.vqvae.data.importing.named import files
from vqvae.data.importing.patients import group_by_patient
from vqvae.errors import InputError


@pytest.mark.parametrize(
    ("names", "patients"),
    [
        (("patient01_study1_T1W.nii.gz", "patient01_study2_T2W.nii.gz"), ["patient01"]),
        (("sub-01/ses-1/sub-01_T1w.nii", "sub-02/ses-1/sub-02_T1w.nii"), ["sub-01", "sub-02"]),
        (("Case_004_Week0_LFOV.nii.gz", "Case_004_Week2_LFOV.nii.gz"), ["Case_004"]),
        (("MR/B006_Week0_LFOV.nii.gz", "labels/B006_Week0_SEMANTIC.nii.gz"), ["B006"]),
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
