import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from vqvae.data.importing.convert import write_import
from vqvae.data.importing.plan import LabelMaps, Request, plan_import
from vqvae.data.importing.record import Options
from vqvae.errors import InputError

VALUES = np.random.default_rng(0).integers(0, 900, (16, 14, 3)).astype(np.int16)
LABELS = (VALUES > 400).astype(np.uint8)


def read(found: tuple[object, ...]) -> list[str]:
    return [volume.files[0].relative for volume in found]  # type: ignore[attr-defined]


def test_patients_that_are_links_are_imported(tmp_path: Path, write: Callable[..., Path]) -> None:
    for patient in range(1, 7):
        write(tmp_path / "real" / f"patient_{patient}" / "T2.nii.gz", VALUES)
    (tmp_path / "in").mkdir()
    for patient in (1, 2, 3):
        shutil.copytree(
            tmp_path / "real" / f"patient_{patient}", tmp_path / "in" / f"patient_{patient}"
        )
    for patient in (4, 5, 6):
        (tmp_path / "in" / f"patient_{patient}").symlink_to(f"../real/patient_{patient}")

    plan = plan_import(Request((tmp_path / "in",)))

    assert read(plan.volumes) == [f"patient_{patient}/T2.nii.gz" for patient in range(1, 7)]
    assert (plan.left_out, plan.label_maps, plan.failed) == ((), (), ())


def test_one_scan_is_not_the_scan_of_two_patients(
    tmp_path: Path, write: Callable[..., Path]
) -> None:
    """git-annex keeps equal files once, so a copy under another patient leads to the same one."""
    for patient in range(1, 5):
        write(tmp_path / f"patient_{patient}" / "T2.nii.gz", VALUES)
        (tmp_path / f"patient_{patient}" / "mask.nii.gz").symlink_to("../.annex/labels")
    (tmp_path / "patient_5").mkdir()
    (tmp_path / "patient_5" / "T2.nii.gz").symlink_to("../patient_2/T2.nii.gz")
    write(tmp_path / ".annex" / "labels.nii.gz", LABELS).rename(tmp_path / ".annex" / "labels")

    plan = plan_import(Request((tmp_path,), label_maps=LabelMaps.IMPORT))

    assert sorted(plan.patients.files) == [f"patient_{patient}" for patient in range(1, 5)]
    assert all(volume.label_files for volume in plan.volumes)
    (line,) = plan.left_out
    assert line == (
        f"{tmp_path}/patient_5/T2.nii.gz: the same file as {tmp_path}/patient_2/T2.nii.gz, "
        "which is read already"
    )


def test_a_shared_slice_is_named_and_the_rest_of_its_volume_with_the_true_reason(
    tmp_path: Path, write: Callable[..., Path]
) -> None:
    for patient in range(1, 5):
        for number in range(2):
            write(tmp_path / f"patient_{patient}" / f"im_{number}.nii", VALUES[..., :1])
    last = tmp_path / "patient_4"
    (last / "im_2.nii").symlink_to("../patient_1/im_1.nii")

    plan = plan_import(Request((tmp_path,), label_maps=LabelMaps.SCANS))

    assert sorted(plan.patients.files) == [f"patient_{patient}" for patient in range(1, 4)]
    of_volume = f"a slice of one volume with {last}/im_2.nii, which is left out"
    assert plan.left_out == (
        f"{last}/im_0.nii: {of_volume}",
        f"{last}/im_1.nii: {of_volume}",
        f"{last}/im_2.nii: the same file as {tmp_path}/patient_1/im_1.nii, which is read already",
    )


@pytest.mark.parametrize("choice", list(LabelMaps))
def test_label_maps_are_left_out_imported_or_taken_for_scans(
    tmp_path: Path, write: Callable[..., Path], choice: LabelMaps
) -> None:
    for patient in (1, 2, 3):
        write(tmp_path / "MR" / f"B00{patient}_Week0_LFOV.nii.gz", VALUES)
        write(tmp_path / "labels" / f"B00{patient}_Week0_SEMANTIC.nii.gz", LABELS)

    plan = plan_import(Request((tmp_path,), label_maps=choice))

    scans = [name for name in read(plan.volumes) if "LFOV" in name]
    others = [name for name in read(plan.volumes) if "SEMANTIC" in name]
    segmented = [volume for volume in plan.volumes if volume.label_files]
    assert len(scans) == 3
    assert len(others) == (3 if choice is LabelMaps.SCANS else 0)
    assert len(segmented) == (3 if choice is LabelMaps.IMPORT else 0)
    assert len(plan.label_maps) == (3 if choice is LabelMaps.LEAVE_OUT else 0)
    assert all(line.endswith("(2 labels)") for line in plan.label_maps)


def test_patients_with_label_maps_alone_are_not_patients(
    tmp_path: Path, write: Callable[..., Path]
) -> None:
    for patient in (1, 2, 3):
        write(tmp_path / f"patient_{patient}_T2.nii.gz", VALUES)
    write(tmp_path / "patient_4_mask.nii.gz", LABELS)

    plan = plan_import(Request((tmp_path,)))

    assert list(plan.patients.files) == ["patient_1", "patient_2", "patient_3"]
    assert plan.label_maps == (f"{tmp_path}/patient_4_mask.nii.gz (2 labels)",)


def test_label_maps_alone_are_refused_as_such(tmp_path: Path, write: Callable[..., Path]) -> None:
    for patient in (1, 2, 3):
        write(tmp_path / f"patient_{patient}_mask.nii.gz", LABELS)
    with pytest.raises(InputError, match=r"all files are label maps, .*patient_1_mask.nii.gz; if"):
        plan_import(Request((tmp_path,)))


def test_a_study_of_which_nothing_can_be_read_is_refused(tmp_path: Path) -> None:
    (tmp_path / "patient_1.nii").write_bytes(b"no scan")
    with pytest.raises(InputError, match=r"no file can be read; .*patient_1.nii: not a readable"):
        plan_import(Request((tmp_path,)))


def test_a_patient_who_cannot_be_read_is_named_where_the_counts_do_not_fit(
    tmp_path: Path, write: Callable[..., Path]
) -> None:
    for patient in (1, 2, 3):
        write(tmp_path / f"patient_{patient}.nii.gz", VALUES)
    (tmp_path / "patient_4.nii").write_bytes(b"no scan")
    with pytest.raises(InputError, match=r"to the 3 patients; not counted: .*patient_4.nii: not a"):
        plan_import(Request((tmp_path,), shares="2,1,1"))


def test_slices_of_an_earlier_import_are_not_imported_again(
    tmp_path: Path, write: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    for patient in (1, 2, 3):
        write(tmp_path / f"patient_{patient}.nii.gz", VALUES)
    options = Options(min_tissue=0)
    write_import(plan_import(Request((tmp_path,))), tmp_path / "mine", options)

    again = plan_import(Request((tmp_path,)))
    by_name = plan_import(Request((tmp_path / "mine",)))

    assert read(again.volumes) == [f"patient_{patient}.nii.gz" for patient in (1, 2, 3)]
    assert again.left_out == (
        f"{tmp_path}/mine: a data set that was imported before (9 files); "
        "to import it, name it alone",
    )
    assert [len(volume.files) for volume in by_name.volumes] == [3, 3, 3]

    (tmp_path / "mine" / "keras_slices_data").rename(tmp_path / "keras_slices_data")
    monkeypatch.chdir(tmp_path)
    assert plan_import(Request((Path(),))).left_out[0].startswith(f"{tmp_path}: a data set")
    for split in ("train", "validate", "test"):
        (tmp_path / "keras_slices_data" / f"keras_slices_{split}").rename(f"keras_slices_{split}")
    assert plan_import(Request((Path(),))).left_out[0].startswith(f"{tmp_path}: a data set")
