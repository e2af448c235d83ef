import csv
import shutil
from pathlib import Path

import nibabel
import numpy as np
import pytest
from PIL import Image

from tests.vqvae.conftest import SLICES, tiny, write_nifti
from vqvae.config import Config, DataConfig
from vqvae.data.layout import SliceName
from vqvae.errors import InputError
from vqvae.evaluation.score_test_split import FIGURE, TABLE, SplitScores, digest_of
from vqvae.sweep import trainer

pytestmark = pytest.mark.xdist_group("package")

SEGMENTED = (40, 41)


def write_segmentation(base: Path, case: int, at: int, shape: tuple[int, int] = (32, 24)) -> Path:
    """Write a segmentation with bone; that of slice 0 also has a prostate."""
    labels = np.ones(shape, np.float32)
    labels[4:12, 4:12] = 2
    if at == 0:
        labels[20:26, 10:16] = 5
    path = base / "keras_slices_seg_test" / f"{SliceName(case, 0, at).stem('seg')}.nii.gz"
    return write_nifti(path, labels)


@pytest.fixture
def config(data: DataConfig, tmp_path: Path) -> Config:
    """Data in which all test slices but one have segmentations."""
    root = shutil.copytree(data.root, tmp_path / "set")
    for case in SEGMENTED:
        for at in range(SLICES):
            write_segmentation(root / "keras_slices_data", case, at)
    next(root.rglob("seg_041*slice_3.nii.gz")).unlink()
    return tiny(DataConfig(root=root, cache=tmp_path / "cache"))


@pytest.fixture
def found(config: Config, package: Path, tmp_path: Path) -> SplitScores:
    return trainer.evaluate(config, package, tmp_path / "out")


def test_a_package_is_scored_in_total_by_patient_and_by_organ(
    found: SplitScores, config: Config
) -> None:
    names = {"ssim", "ssim_body", "ssim_uniform7", "ssim_zscore", "psnr", "nmse"}
    organs = {f"{kind}_{organ}" for kind in ("ssim", "psnr") for organ in ("bone", "prostate")}
    counted = {"bits_per_pixel", "perplexity", "codebook_usage"}

    assert set(found.scores) == {f"test/{name}" for name in names | organs | counted}
    assert set(found.patients) == {"case_040", "case_041"}
    assert set(found.patients["case_040"]) == {f"test/{name}" for name in names | organs}
    assert set(found.intervals) == {f"test/{name}" for name in names | organs}
    mean = np.mean([scores["test/ssim"] for scores in found.patients.values()])
    assert found.scores["test/ssim"] == pytest.approx(mean)
    for name, (low, high) in found.intervals.items():
        assert low <= found.scores[name] <= high
    assert found.scores["test/bits_per_pixel"] == pytest.approx(4 / 16)
    assert set(trainer.floors) <= set(found.scores)


def test_the_scores_identify_their_data(found: SplitScores, config: Config) -> None:
    assert found.data["name"] == "set"
    assert found.data["source"] == str(config.data.root)
    assert found.data["digest"] == digest_of(config.data.root)
    assert found.data["profile"] == {
        "slices": 8,
        "segmented": 7,
        "patients": 2,
        "shapes": ["32x24"],
        "left_out": 0,
    }


def test_every_slice_has_its_row_and_the_worst_are_in_a_figure(
    found: SplitScores, tmp_path: Path
) -> None:
    rows = list(csv.DictReader((tmp_path / "out" / TABLE).read_text().splitlines()))

    assert len(rows) == 8
    assert {row["patient"] for row in rows} == {"40", "41"}
    assert rows[0]["file"] == "keras_slices_test/case_040_week_0_slice_0.nii.gz"
    mean = np.mean([float(row["ssim"]) for row in rows])
    assert found.scores["test/ssim"] == pytest.approx(mean)
    # A prostate in the first slice of each patient, bone wherever there is a segmentation.
    assert [row["ssim_prostate"] != "" for row in rows] == [True, False, False, False] * 2
    assert [row["ssim_bone"] != "" for row in rows] == [True] * 7 + [False]
    with Image.open(tmp_path / "out" / FIGURE) as figure:
        assert figure.width > 6 * 112


def test_scoring_again_gives_the_same_bits(
    found: SplitScores, config: Config, package: Path, tmp_path: Path
) -> None:
    again = trainer.evaluate(config, package, tmp_path / "again")

    assert again == found
    for name in (FIGURE, TABLE):
        one, other = (tmp_path / folder / name for folder in ("out", "again"))
        assert one.read_bytes() == other.read_bytes()


def test_an_organ_is_scored_on_its_own_pixels(config: Config, package: Path) -> None:
    import torch

    from vqvae.data.intensity import scale
    from vqvae.data.nifti import read_slice
    from vqvae.evaluation.evaluate import evaluate
    from vqvae.evaluation.metrics import psnr
    from vqvae.export.package import open_package

    codec = open_package(package)
    base = config.data.root / "keras_slices_data"
    pixels = read_slice(next(base.rglob("case_040*slice_0.nii.gz"))).pixels
    image = torch.from_numpy(np.rint(scale(pixels)[0] * 65535) / np.float32(65535))[None, None]
    made = codec.decode(codec.encode(image), 32, 24)

    row = evaluate(codec, config.data, "test").rows[0]

    part = (slice(None), slice(None), slice(20, 26), slice(10, 16))
    assert row.scores["psnr_prostate"] == pytest.approx(float(psnr(image[part], made[part])), 1e-4)


def test_a_segmentation_that_cannot_be_read_costs_only_its_own_scores(
    config: Config, package: Path, tmp_path: Path
) -> None:
    next(config.data.root.rglob("seg_040*slice_1.nii.gz")).write_bytes(b"nothing")

    found = trainer.evaluate(config, package, tmp_path / "out")

    assert found.data["profile"]["segmented"] == 6


def test_a_segmentation_of_another_size_is_refused(
    config: Config, package: Path, tmp_path: Path
) -> None:
    write_segmentation(config.data.root / "keras_slices_data", 40, 1, shape=(32, 20))

    with pytest.raises(InputError, match=r"slice_1\.nii\.gz: a segmentation of 32x20 pixels for a"):
        trainer.evaluate(config, package, tmp_path / "out")


def test_without_segmentations_and_other_patients_there_are_fewer_scores(
    data: DataConfig, package: Path, tmp_path: Path
) -> None:
    root = shutil.copytree(data.root, tmp_path / "set")
    for path in root.rglob("case_041*"):
        path.unlink()
    config = tiny(DataConfig(root=root, cache=tmp_path / "cache"))

    found = trainer.evaluate(config, package, tmp_path / "out")

    assert "test/ssim" in found.scores
    assert not any("bone" in name for name in found.scores)
    assert found.intervals == {}
    assert found.data["profile"]["segmented"] == 0


def test_the_digest_is_of_contents(config: Config, tmp_path: Path) -> None:
    before = digest_of(config.data.root)
    copy = shutil.copytree(config.data.root, tmp_path / "copy")
    assert digest_of(copy) == before

    scan = next(copy.rglob("case_041*slice_2.nii.gz"))
    image = nibabel.load(scan)
    pixels = image.get_fdata(dtype=np.float32)
    content = bytearray(scan.read_bytes())
    content[-1] ^= 1
    scan.write_bytes(content)
    assert digest_of(copy) != before
    scan.unlink()
    write_nifti(scan, pixels + 1)
    assert digest_of(copy) != before
