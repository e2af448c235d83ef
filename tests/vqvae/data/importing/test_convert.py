import json
from collections.abc import Callable
from pathlib import Path

import nibabel
import numpy as np
import pytest

from vqvae.config import DataConfig
from vqvae.data.importing.convert import Options, divide, plan, write_import
from vqvae.data.importing.geometry import Fit, Size
from vqvae.data.importing.sources import find_files, group_by_patient
from vqvae.data.layout import list_splits
from vqvae.data.nifti import read_slice
from vqvae.data.splits import inspect
from vqvae.errors import InputError

AFFINE = np.array([[-0.7, 0, 0, 40], [0, -0.9, 0, 30], [0, 0, 3, -10], [0, 0, 0, 1.0]])


@pytest.fixture
def study(tmp_path: Path, write: Callable[..., Path]) -> Path:
    """Four patients, two contrasts each; the lowest slice of every volume is noise."""
    random = np.random.default_rng(0)
    for patient in (3, 5, 8, 9):
        for contrast in ("T1W", "T2W"):
            values = random.integers(0, 9, (24, 20, 4))
            values[6:18, 5:15, 1:] += random.integers(200, 900, (12, 10, 3))
            path = tmp_path / "study" / f"patient{patient:02}_{contrast}.nii.gz"
            write(path, values.astype(np.uint16), AFFINE)
    return tmp_path / "study"


def import_study(study: Path, out: Path, options: Options, seed: int = 0) -> None:
    patients = group_by_patient(find_files([study]), None)
    splits = divide(list(patients.files), "0.5,0.25,0.25", seed)
    write_import(plan(patients, splits), out, options, {"seed": seed})


def test_all_slices_of_a_patient_are_in_one_split(study: Path, tmp_path: Path) -> None:
    import_study(study, tmp_path / "out", Options())
    found = inspect(DataConfig(root=tmp_path / "out"))
    assert found.slices == {"train": 12, "validate": 6, "test": 6}
    patients = [patient for split in found.patients.values() for patient in split]
    assert sorted(patients) == [3, 5, 8, 9]
    record = json.loads((tmp_path / "out" / "import.json").read_text())
    assert [(row["case"], row["week"]) for row in record["volumes"][:3]] == [(3, 0), (3, 1), (5, 0)]
    assert record["volumes"][1]["sources"] == [str(study / "patient03_T2W.nii.gz")]
    assert {(row["slices"], row["dropped"]) for row in record["volumes"]} == {(3, 1)}


@pytest.mark.parametrize("fit", list(Fit))
def test_voxels_keep_positions_and_values(study: Path, tmp_path: Path, fit: Fit) -> None:
    import_study(study, tmp_path / "out", Options(size=Size(32, 16), fit=fit))
    record = json.loads((tmp_path / "out" / "import.json").read_text())
    sources = {(row["case"], row["week"]): row["sources"][0] for row in record["volumes"]}
    file = list_splits(tmp_path / "out")["train"].files[-1]
    scan = read_slice(file.path)
    assert scan.pixels.shape == (32, 16)
    assert scan.header.get_data_dtype() == np.uint16
    source = Path(sources[file.name.case, file.name.week])
    values = np.asarray(nibabel.load(source).dataobj)
    middle = scan.affine @ [15.5, 7.5, 0, 1]
    index = (np.linalg.inv(AFFINE) @ middle)[:3]
    np.testing.assert_allclose(index, [11.5, 9.5, file.name.slice], atol=1e-3)
    if fit is Fit.CROP:
        index = np.rint((np.linalg.inv(AFFINE) @ scan.affine @ [14, 5, 0, 1])[:3]).astype(int)
        assert scan.pixels[14, 5] == values[tuple(index)]


def test_the_same_seed_gives_the_same_splits() -> None:
    names = [f"p{number}" for number in range(20)]
    assert divide(names, "0.7,0.15,0.15", 3) == divide(names[::-1], "0.7,0.15,0.15", 3)
    assert divide(names, "0.7,0.15,0.15", 3) != divide(names, "0.7,0.15,0.15", 4)


@pytest.mark.parametrize(
    ("shares", "patients", "counts"),
    [
        ("0.7,0.15,0.15", 20, [14, 3, 3]),
        ("0.7,0.15,0.15", 7, [5, 1, 1]),
        ("0.98,0.01,0.01", 4, [2, 1, 1]),
        ("2,1,4", 7, [2, 1, 4]),
        ("1,1,1", 3, [1, 1, 1]),
    ],
)
def test_shares(shares: str, patients: int, counts: list[int]) -> None:
    owners = list(divide([f"p{number}" for number in range(patients)], shares, 0).values())
    assert [owners.count(split) for split in ("train", "validate", "test")] == counts


@pytest.mark.parametrize(
    ("shares", "message"),
    [
        ("0.7,0.3", "write three shares"),
        ("a,b,c", "write three shares"),
        ("nan,0.5,0.5", "write three shares"),
        ("0.7,0.3,0.3", "must sum to 1"),
        ("3,2,2", "must sum to the 5 patients"),
        ("1.5,1.5,2", "must sum to the 5 patients"),
    ],
)
def test_shares_that_are_not_valid_are_refused(shares: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        divide(["a", "b", "c", "d", "e"], shares, 0)


def test_two_patients_are_too_few() -> None:
    with pytest.raises(InputError, match=r"2 patients \(a, b\) are too few for three splits"):
        divide(["a", "b"], "0.7,0.15,0.15", 0)


def test_files_of_single_slices_become_volumes(tmp_path: Path, write: Callable[..., Path]) -> None:
    values = np.random.default_rng(0).integers(0, 500, (12, 10)).astype(np.float32)
    for patient in ("anna", "bert", "carl"):
        for number in (9, 11):
            write(tmp_path / "in" / patient / f"im{number}.nii", values, AFFINE)
    patients = group_by_patient(find_files([tmp_path / "in"]), r"^([^/]+)/")
    volumes = plan(patients, divide(list(patients.files), "1,1,1", 0))
    write_import(volumes, tmp_path / "out", Options(), {})
    names = [
        file.name for listing in list_splits(tmp_path / "out").values() for file in listing.files
    ]
    assert sorted((name.case, name.week, name.slice) for name in names) == [
        (case, 0, number) for case in (1, 2, 3) for number in (9, 11)
    ]


def test_an_import_with_a_bad_volume_writes_nothing(study: Path, tmp_path: Path) -> None:
    bad = study / "patient08_T1W.nii.gz"
    bad.write_bytes(bad.read_bytes()[:-300])
    with pytest.raises(InputError, match=r"patient08_T1W.nii.gz: not a readable"):
        import_study(study, tmp_path / "out", Options())
    assert [path.name for path in tmp_path.iterdir()] == ["study"]


def test_a_split_of_background_alone_is_refused(study: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no slice of train holds enough tissue"):
        import_study(study, tmp_path / "out", Options(min_tissue=0.9))
