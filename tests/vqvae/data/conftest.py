"""Small data sets in the HipMRI layout, as real files."""

from collections.abc import Callable
from pathlib import Path

import nibabel
import numpy as np
import pytest

from vqvae.config import DataConfig, PhantomConfig
from vqvae.data.phantom.dataset import write_phantom

SMALL = PhantomConfig(
    train_patients=2,
    validate_patients=1,
    test_patients=1,
    volumes=2,
    slices=6,
    height=64,
    width=32,
    seed=7,
)


@pytest.fixture(scope="session")
def phantom(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A phantom; tests must not change it."""
    root = tmp_path_factory.mktemp("shared") / "phantom"
    write_phantom(SMALL, root)
    return root


@pytest.fixture
def write() -> Callable[..., Path]:
    """A function that writes a NIfTI file and returns its path."""

    def to(path: Path, pixels: object = None, affine: object = None) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        values = np.arange(192, dtype=np.int16).reshape(16, 12) if pixels is None else pixels
        nibabel.save(nibabel.Nifti1Image(values, np.eye(4) if affine is None else affine), path)
        return path

    return to


@pytest.fixture
def tiny(tmp_path: Path, write: Callable[..., Path]) -> DataConfig:
    """A data set with two slices of one patient in each split; tests may change it."""
    for case, split in enumerate(("train", "validate", "test"), 4):
        for number in (10, 2):
            folder = tmp_path / "set" / f"keras_slices_{split}"
            write(folder / f"case_{case:03}_week_0_slice_{number}.nii.gz")
    return DataConfig(root=tmp_path / "set", cache=tmp_path / "cache")
