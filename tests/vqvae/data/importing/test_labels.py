from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import DTypeLike, NDArray

from vqvae.data.importing.labels import Sorted, sort_volumes
from vqvae.data.importing.sources import find_files, read_grids

SHAPE = (16, 14, 6)
SCAN = np.random.default_rng(0).integers(0, 2000, SHAPE).astype(np.int16)
DULL = np.random.default_rng(1).integers(0, 200, SHAPE).astype(np.uint8)
"""A scan of few bits: it has less than 256 different values."""
ORGANS = np.where(SCAN > 1000, 3, 0) + np.where(SCAN > 1500, 2, 0)
ELSEWHERE = np.diag([1, 1, 1, 1.0]) + np.eye(4, k=3) * 5


@pytest.fixture
def scans(tmp_path: Path, write: Callable[..., Path]) -> Callable[..., Sorted]:
    """A function that writes one patient's files and sorts them."""

    def of(
        **files: NDArray[np.generic] | tuple[NDArray[np.generic], NDArray[np.float64]],
    ) -> Sorted:
        for name, content in files.items():
            pixels, affine = content if isinstance(content, tuple) else (content, None)
            write(tmp_path / "p1" / f"{name.replace('__', '/')}.nii.gz", pixels, affine)
        return sort_volumes(read_grids(find_files([tmp_path / "p1"])).files)

    return of


def names(found: Sorted) -> tuple[list[str], list[str]]:
    """The names of the scans and of the label maps."""
    return (
        [scan[0].path.name.removesuffix(".nii.gz") for scan in found.scans],
        [one.path.name.removesuffix(".nii.gz") for one in found.label_maps],
    )


@pytest.mark.parametrize("dtype", ["u1", "i2", "i4", "f4", "f8"])
@pytest.mark.parametrize("scan", [SCAN, DULL], ids=["scan", "scan of few bits"])
@pytest.mark.parametrize(
    ("image", "labels"),
    [
        ("semantic_MRs__B006_Week0_LFOV", "semantic_labels__B006_Week0_SEMANTIC"),
        ("MR__B006_Week0_LFOV", "MR__B006_Week0_SEMANTIC"),
        ("imagesTr__prostate_00_0000", "labelsTr__prostate_00"),
        ("anat__sub_1_T2w", "anat__sub_1_space_orig_dseg"),
        ("T2", "T2_prostate_mask"),
        ("T2", "somebody_else"),
    ],
)
def test_label_maps_are_recognised_among_scans(
    scans: Callable[..., Sorted],
    image: str,
    labels: str,
    scan: NDArray[np.generic],
    dtype: DTypeLike,
) -> None:
    found = scans(**{image: scan, labels: ORGANS.astype(dtype)})

    last = [name.rpartition("__")[2] for name in (image, labels)]
    assert names(found) == ([last[0]], [last[1]])
    assert found.label_maps[0].labels == 3
    assert found.chosen == {0: found.label_maps[0]}
    assert found.problems == ()


def test_freesurfer_maps_of_many_labels_are_recognised(scans: Callable[..., Sorted]) -> None:
    found = scans(**{"T1": SCAN, "aparc+aseg": (SCAN // 20).astype(np.int32)})
    assert names(found) == (["T1"], ["aparc+aseg"])
    assert found.label_maps[0].labels == 100


def test_scans_with_the_same_grid_are_scans(scans: Callable[..., Sorted]) -> None:
    found = scans(T1=SCAN, T2=DULL, FLAIR=SCAN[::-1], semantic_MRs__DWI=DULL)
    assert names(found) == (["FLAIR", "T1", "T2", "DWI"], [])


def test_blank_scans_without_a_partner_are_scans(scans: Callable[..., Sorted]) -> None:
    assert names(scans(T1=np.zeros(SHAPE, np.int16))) == (["T1"], [])


def test_a_map_of_probabilities_is_no_label_map(scans: Callable[..., Sorted]) -> None:
    found = scans(T1=SCAN, T1_mask=(SCAN / 2000).astype(np.float32))
    assert names(found) == (["T1", "T1_mask"], [])


def test_each_scan_gets_the_label_map_of_its_week_and_name(scans: Callable[..., Sorted]) -> None:
    found = scans(
        Week0_T1=SCAN,
        Week0_T2=SCAN,
        Week1_T1=SCAN,
        Week2_T1=SCAN,
        Week0_T1_mask=ORGANS.astype(np.uint8),
        Week0_T2_mask=ORGANS.astype(np.uint8),
        Week1_mask=ORGANS.astype(np.uint8),
    )
    chosen = {found.scans[at][0].path.name: one.path.name for at, one in found.chosen.items()}
    assert chosen == {
        "Week0_T1.nii.gz": "Week0_T1_mask.nii.gz",
        "Week0_T2.nii.gz": "Week0_T2_mask.nii.gz",
        "Week1_T1.nii.gz": "Week1_mask.nii.gz",
    }
    assert found.problems == ()


@pytest.mark.parametrize("other", ["a_dwi", "z_dwi"])
def test_a_tie_for_one_scan_does_not_cost_another_its_label_map(
    scans: Callable[..., Sorted], other: str
) -> None:
    labels = ORGANS.astype(np.uint8)
    found = scans(**{"T2": SCAN, other: DULL, "T2_seg": labels, "C_seg": labels})
    chosen = {found.scans[at][0].path.name: one.path.name for at, one in found.chosen.items()}
    assert chosen == {"T2.nii.gz": "T2_seg.nii.gz"}
    folder = found.scans[0][0].path.parent
    assert found.problems == (
        f"{folder}/C_seg.nii.gz: {folder}/T2_seg.nii.gz fits {folder}/{other}.nii.gz just as well",
    )


def test_label_maps_that_belong_to_no_scan_are_named(scans: Callable[..., Sorted]) -> None:
    labels = ORGANS.astype(np.uint16)
    found = scans(
        T1=SCAN, T1_mask_a=labels, T1_mask_b=labels, far_mask=(labels, ELSEWHERE), mask=labels * 100
    )
    folder = found.scans[0][0].path.parent
    tie = f"fits {folder}/T1.nii.gz just as well"
    assert found.chosen == {}
    assert sorted(found.problems) == [
        f"{folder}/T1_mask_a.nii.gz: {folder}/T1_mask_b.nii.gz {tie}",
        f"{folder}/T1_mask_b.nii.gz: {folder}/T1_mask_a.nii.gz {tie}",
        f"{folder}/far_mask.nii.gz: no scan of the same patient has its grid",
        f"{folder}/mask.nii.gz: its labels go up to 500, not to 255",
    ]
