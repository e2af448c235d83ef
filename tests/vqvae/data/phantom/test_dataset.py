import filecmp
import subprocess
import sys
from pathlib import Path

import nibabel
import numpy as np
import pytest

from vqvae.config import DataConfig, PhantomConfig
from vqvae.data.layout import SPLITS, SliceName, list_split, list_splits
from vqvae.data.nifti import read_slice
from vqvae.data.phantom.dataset import ensure_phantom, write_phantom
from vqvae.data.splits import inspect
from vqvae.errors import InputError

CONFIG = PhantomConfig(
    train_patients=1,
    validate_patients=1,
    test_patients=1,
    volumes=1,
    slices=6,
    height=64,
    width=32,
)


def contents(root: Path) -> dict[str, bytes]:
    return {
        path.relative_to(root).as_posix(): path.read_bytes()
        for path in root.rglob("*")
        if path.is_file()
    }


def test_the_same_seed_gives_the_same_bytes(tmp_path: Path) -> None:
    write_phantom(CONFIG, tmp_path / "a")
    write_phantom(CONFIG, tmp_path / "b")
    write_phantom(CONFIG.model_copy(update={"seed": 1}), tmp_path / "c")
    first = contents(tmp_path / "a")
    assert first == contents(tmp_path / "b")
    other = contents(tmp_path / "c")
    assert first.keys() == other.keys()
    assert all(first[name] != other[name] for name in first if "case_" in name)


def test_a_patient_does_not_depend_on_the_number_of_patients(tmp_path: Path) -> None:
    write_phantom(CONFIG, tmp_path / "a")
    write_phantom(CONFIG.model_copy(update={"test_patients": 2}), tmp_path / "b")
    same = filecmp.dircmp(
        tmp_path / "a" / "keras_slices_data" / "keras_slices_test",
        tmp_path / "b" / "keras_slices_data" / "keras_slices_test",
    )
    assert len(same.same_files) == CONFIG.slices
    assert same.diff_files == []


def test_a_phantom_has_the_irregularities_of_the_layout(phantom: Path) -> None:
    train = list_splits(phantom)["train"].files
    assert train[0].name == SliceName(4, 0, 0)
    assert train[0].path.parent.name == train[0].path.name
    assert {file.path.suffix for file in train} == {".nii", ".gz"}
    shapes = {nibabel.load(file.path).shape for file in train}
    assert shapes == {(64, 32), (64, 32, 1), (64, 36), (64, 36, 1)}


def test_images_and_labels_agree(phantom: Path) -> None:
    base = phantom / "keras_slices_data"
    found_labels: set[float] = set()
    for split in SPLITS:
        for file in list_split(base, split).files:
            relative = file.relative.replace("slices_", "slices_seg_").replace("case_", "seg_")
            image, labels = read_slice(file.path), read_slice(base / relative)
            assert labels.header.get_data_dtype() == np.float32
            assert image.pixels.shape == labels.pixels.shape
            np.testing.assert_array_equal(image.affine, labels.affine)
            body, air = image.pixels[labels.pixels > 0], image.pixels[labels.pixels == 0]
            assert body.mean() > 4 * air.mean()
            found_labels |= set(np.unique(labels.pixels).tolist())
    assert found_labels == {0, 1, 2, 3, 4, 5}


def test_patients_weeks_and_slices_differ(phantom: Path) -> None:
    files = {
        file.name: file.path for listing in list_splits(phantom).values() for file in listing.files
    }
    one = read_slice(files[SliceName(4, 0, 2)]).pixels
    for other in (SliceName(4, 0, 3), SliceName(4, 1, 2), SliceName(6, 0, 2)):
        assert np.corrcoef(one.ravel(), read_slice(files[other]).pixels.ravel())[0, 1] < 0.97


def test_slices_have_the_positions_of_their_levels(phantom: Path) -> None:
    files = list_splits(phantom)["test"].files[:6]
    levels = [read_slice(file.path).affine[2, 3] for file in files]
    np.testing.assert_allclose(np.diff(levels), levels[1] - levels[0], rtol=1e-5)
    assert levels[1] > levels[0]


def test_existing_files_are_not_changed(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    with pytest.raises(InputError, match="is not empty; name another"):
        write_phantom(CONFIG, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
    with pytest.raises(InputError, match="is not empty"):
        write_phantom(CONFIG, tmp_path / "file")


SMALLEST = CONFIG.model_copy(update={"slices": 3, "height": 32, "width": 32})


def test_ensure_writes_once_and_keeps_an_existing_phantom(tmp_path: Path) -> None:
    config = DataConfig(root=tmp_path / "new" / "phantom", phantom=SMALLEST)
    ensure_phantom(config)
    before = inspect(config)
    ensure_phantom(config)
    assert inspect(config) == before
    assert [path.name for path in config.root.parent.iterdir()] == ["phantom"]


def test_ensure_refuses_another_phantom(tmp_path: Path) -> None:
    ensure_phantom(DataConfig(root=tmp_path / "p", phantom=SMALLEST))
    other = SMALLEST.model_copy(update={"seed": 5})
    expected = r"seed is 0 on disk and 5 in the configuration\); remove it, or set another root"
    with pytest.raises(InputError, match=expected):
        ensure_phantom(DataConfig(root=tmp_path / "p", phantom=other))


def test_ensure_does_not_change_other_data(tiny: DataConfig) -> None:
    ensure_phantom(tiny)
    with pytest.raises(InputError, match="holds no phantom"):
        ensure_phantom(tiny.model_copy(update={"phantom": SMALLEST}))


def test_several_processes_may_ensure_at_the_same_time(tmp_path: Path) -> None:
    config = DataConfig(root=tmp_path / "p", phantom=SMALLEST)
    code = (
        "import sys; from vqvae.config import DataConfig;"
        "from vqvae.data.phantom.dataset import ensure_phantom;"
        "ensure_phantom(DataConfig.model_validate_json(sys.argv[1]))"
    )
    command = [sys.executable, "-c", code, config.model_dump_json()]
    processes = [subprocess.Popen(command, stderr=subprocess.DEVNULL) for _ in range(3)]
    assert [process.wait(timeout=60) for process in processes] == [0, 0, 0]
    assert inspect(config).slices == {"train": 3, "validate": 3, "test": 3}
    assert [path.name for path in tmp_path.iterdir()] == ["p"]
