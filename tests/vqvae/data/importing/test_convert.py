import errno
import json
from collections.abc import Callable
from pathlib import Path

import nibabel
import numpy as np
import pytest

from vqvae.config import DataConfig
from vqvae.data import nifti
from vqvae.data.importing.convert import BadVolumesError, write_import
from vqvae.data.importing.geometry import Axis, Fit, Size
from vqvae.data.importing.plan import LabelMaps, Request, plan_import
from vqvae.data.importing.record import Options
from vqvae.data.importing.survey import survey
from vqvae.data.layout import find_base, list_splits
from vqvae.data.nifti import read_slice
from vqvae.data.segmentations import list_labels, read_labels
from vqvae.data.splits import inspect
from vqvae.errors import InputError, UnavailableError

DEFAULT = Options()
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


def import_study(
    study: Path, out: Path, options: Options = DEFAULT, label_maps: LabelMaps = LabelMaps.LEAVE_OUT
) -> tuple[str, ...]:
    """Import with one half of the patients to train on; return the lines about bad volumes."""
    plan = plan_import(Request((study,), shares="0.5,0.25,0.25", label_maps=label_maps))
    return write_import(plan, out, options).failed


def test_all_slices_of_a_patient_are_in_one_split(study: Path, tmp_path: Path) -> None:
    import_study(study, tmp_path / "out")
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


def test_files_of_single_slices_become_volumes(tmp_path: Path, write: Callable[..., Path]) -> None:
    values = np.random.default_rng(0).integers(0, 500, (12, 11)).astype(np.float32)
    for patient in ("anna", "bert", "carl"):
        for number in (9, 11):
            write(tmp_path / "in" / patient / f"im{number}.nii", values, AFFINE)
    plan = plan_import(Request((tmp_path / "in",), r"^([^/]+)/", "1,1,1"))
    write_import(plan, tmp_path / "out", Options())
    names = [
        file.name for listing in list_splits(tmp_path / "out").values() for file in listing.files
    ]
    assert sorted((name.case, name.week, name.slice) for name in names) == [
        (case, 0, number) for case in (1, 2, 3) for number in (9, 11)
    ]


def test_all_bad_volumes_are_named_and_nothing_is_written(study: Path, tmp_path: Path) -> None:
    for patient in (3, 8):
        bad = study / f"patient{patient:02}_T1W.nii.gz"
        bad.write_bytes(bad.read_bytes()[:-300])
    with pytest.raises(BadVolumesError, match=r"2 files cannot be imported") as caught:
        import_study(study, tmp_path / "out")
    for patient, line in zip((3, 8), caught.value.lines, strict=True):
        assert f"patient{patient:02}_T1W.nii.gz: not a readable NIfTI file" in line
    assert [path.name for path in tmp_path.iterdir()] == ["study"]


def test_the_only_bad_volume_is_named_in_the_error(study: Path, tmp_path: Path) -> None:
    bad = study / "patient03_T1W.nii.gz"
    bad.write_bytes(b"no scan")
    with pytest.raises(BadVolumesError, match=f"^{bad}: .*nothing was written: correct the file,"):
        import_study(study, tmp_path / "out")


def test_bad_volumes_are_left_out_if_asked_for(study: Path, tmp_path: Path) -> None:
    (study / "patient03_T1W.nii.gz").write_bytes(b"no scan")
    (study / "patient04").symlink_to("gone")

    lines = import_study(study, tmp_path / "out", Options(skip_bad=True))

    assert len(lines) == 2
    record = json.loads((tmp_path / "out" / "import.json").read_text())
    assert record["left_out"] == list(lines)
    assert len(record["volumes"]) == 7


def test_slices_too_small_for_ssim_are_refused(tmp_path: Path, write: Callable[..., Path]) -> None:
    for patient in (1, 2, 3):
        values = np.random.default_rng(0).integers(0, 900, (1, 20, 14)).astype(np.int16)
        write(tmp_path / "study" / f"patient{patient}.nii", values, np.diag([2, 1, 1, 1.0]))
    with pytest.raises(BadVolumesError) as caught:
        import_study(tmp_path / "study", tmp_path / "out")
    assert "its axial slices have 1x20 pixels, and SSIM needs 11 a side" in caught.value.lines[0]

    import_study(tmp_path / "study", tmp_path / "out", Options(axis=Axis.SAGITTAL))

    assert inspect(DataConfig(root=tmp_path / "out")).slices["test"] == 1


def test_pixels_that_are_not_finite_become_background(
    tmp_path: Path, write: Callable[..., Path]
) -> None:
    values = np.random.default_rng(0).uniform(20, 900, (20, 16, 3)).astype(np.float32)
    values[:4], values[8, 8, 1] = np.nan, np.inf
    for patient in (1, 2, 3):
        write(tmp_path / "study" / f"patient{patient}.nii", values, np.diag([2, 1, 3, 1.0]))
    with pytest.raises(BadVolumesError) as caught:
        import_study(tmp_path / "study", tmp_path / "out")
    assert "some pixels are not finite numbers; fill them" in caught.value.lines[0]

    import_study(tmp_path / "study", tmp_path / "out", Options(fill_background=True))

    pixels = read_slice(list_splits(tmp_path / "out")["test"].files[1].path).pixels
    expected = np.where(np.isfinite(values), values, values[np.isfinite(values)].min())
    np.testing.assert_array_equal(pixels, expected[:, :, 1])


@pytest.mark.parametrize("size", [None, Size(32, 16)])
def test_label_maps_become_segmentations_of_the_same_pixels(
    study: Path, tmp_path: Path, size: Size | None
) -> None:
    for patient in (3, 5, 8, 9):
        image = nibabel.load(study / f"patient{patient:02}_T2W.nii.gz")
        labels = np.where(np.asarray(image.dataobj) > 100, 1.0, 0.0)  # HipMRI stores floats
        nibabel.Nifti1Image(labels, AFFINE).to_filename(study / f"patient{patient:02}_mask.nii")
    relabel = np.arange(256, dtype=np.uint8)
    relabel[1] = 5

    import_study(
        study,
        tmp_path / "out",
        Options(size=size, fit=Fit.RESAMPLE, relabel=relabel),
        LabelMaps.IMPORT,
    )

    found = survey(tmp_path / "out")
    assert (found.problems, found.oddities) == ((), ())
    assert found.splits["train"].segmented == found.splits["train"].slices == 12
    base = find_base(tmp_path / "out")
    file = list_splits(tmp_path / "out")["train"].files[0]
    scan, path = read_slice(file.path), list_labels(base, "train")[file.name]
    assert nibabel.load(path).get_data_dtype() == np.uint8
    np.testing.assert_allclose(read_slice(path).affine, scan.affine)
    segmented = read_labels(path, scan.pixels.shape)
    assert segmented is not None
    assert set(np.unique(segmented)) == {0, 5}
    if size is None:
        np.testing.assert_array_equal(segmented == 5, scan.pixels > 100)
    else:  # the linear interpolation of the scan blurs the border
        assert ((segmented == 5) == (scan.pixels > 100)).mean() > 0.9


def test_a_split_of_background_alone_is_refused(study: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="only 0 of 4 patients have a slice with enough tissue"):
        import_study(study, tmp_path / "out", Options(min_tissue=0.9))


def test_counts_of_patients_of_whom_one_has_no_slice_are_refused_with_the_names(
    study: Path, tmp_path: Path
) -> None:
    for bad in study.glob("patient03_*"):
        bad.write_bytes(bad.read_bytes()[:-300])
    request = Request((study,), shares="2,1,1")
    message = r"must sum to the 3 patients that have a slice \(not patient03\); nothing was written"
    with pytest.raises(InputError, match=message):
        write_import(plan_import(request), tmp_path / "out", Options(skip_bad=True))
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("fails", ["header", "pixels"])
def test_a_file_server_that_fails_makes_no_smaller_data_set(
    study: Path, tmp_path: Path, fails: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = "read_head" if fails == "header" else "read_bytes"
    read: Callable[[Path], bytes] = getattr(nifti, name)

    def failing(path: Path) -> bytes:
        if path.name.startswith("patient03"):
            raise OSError(errno.EIO, "Input/output error")
        return read(path)

    monkeypatch.setattr(nifti, name, failing)
    with pytest.raises(UnavailableError, match=r"patient03_.*Input/output error"):
        import_study(study, tmp_path / "out", Options(skip_bad=True))
    assert not (tmp_path / "out").exists()


def test_bad_scans_do_not_leave_a_split_empty(study: Path, tmp_path: Path) -> None:
    import_study(study, tmp_path / "first")
    record = json.loads((tmp_path / "first" / "import.json").read_text())
    (patient,) = {row["patient"] for row in record["volumes"] if row["split"] == "test"}
    for bad in study.glob(f"{patient}_*"):
        bad.write_bytes(bad.read_bytes()[:-300])

    lines = import_study(study, tmp_path / "second", Options(skip_bad=True))

    assert len(lines) == 2
    assert inspect(DataConfig(root=tmp_path / "second")).slices == {
        "train": 6,
        "validate": 6,
        "test": 6,
    }
    assert sorted(path.name for path in (tmp_path / "second").iterdir()) == [
        "import.json",
        "keras_slices_data",
    ]
