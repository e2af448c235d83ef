"""A small data set of smooth blobs in the HipMRI layout, with two shapes in the training split."""

import logging
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
import torch

from vqvae.config import Config, DataConfig
from vqvae.sweep import trainer
from vqvae.training.loop import fit

# Pytest captures every logger, and torch.export writes pages to this one if anything captures it.
logging.getLogger("torch.__trace").propagate = False

PATIENTS = {"train": (4, 5, 6), "validate": (36, 37), "test": (40, 41)}
SLICES = 4


def blobs(seed: int, height: int, width: int) -> np.ndarray:
    """An image of a few soft discs on black, float32 [height, width], 0 to about 900."""
    random = np.random.default_rng(seed)
    rows, columns = np.mgrid[:height, :width]
    image = np.zeros((height, width))
    for _ in range(6):
        row, column = random.uniform(0, height), random.uniform(0, width)
        size = random.uniform(3, height / 4)
        distance = (rows - row) ** 2 + (columns - column) ** 2
        image = np.maximum(image, random.uniform(0.3, 1) * np.exp(-distance / size**2))
    return (900 * image).astype(np.float32)


def write_nifti(path: Path, pixels: np.ndarray) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    nibabel.save(nibabel.Nifti1Image(pixels, np.diag([1.5, 2.0, 3.0, 1.0])), path)
    return path


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> DataConfig:
    root = tmp_path_factory.mktemp("data")
    for split, cases in PATIENTS.items():
        folder = root / "keras_slices_data" / f"keras_slices_{split}"
        for case in cases:
            width = 27 if case == 6 else 24
            for at in range(SLICES):
                name = f"case_{case:03d}_week_0_slice_{at}.nii.gz"
                write_nifti(folder / name, blobs(case * 100 + at, 32, width))
    return DataConfig(root=root, cache=tmp_path_factory.mktemp("cache"))


@pytest.fixture
def config(data: DataConfig) -> Config:
    return tiny(data)


def tiny(data: DataConfig, **changes: Any) -> Config:
    """A configuration that trains in milliseconds; `changes` are keys of model or training."""
    model = {"width": 8, "residual_blocks": 1, "residual_width": 4, "codebook_size": 16}
    model |= {"code_dimension": 4, "dead_code_threshold_steps": 2}
    training = {"epochs": 3, "batch_size": 3, "device": "cpu"}
    for key, value in changes.items():
        (training if key in TRAINING else model)[key] = value
    return Config.model_validate({"data": data, "model": model, "training": training})


TRAINING = set(Config.model_fields["training"].annotation.model_fields)


@pytest.fixture(autouse=True)
def _fixed_seed() -> None:
    torch.manual_seed(0)


@pytest.fixture(scope="session")
def trained(data: DataConfig, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a training that ran for one epoch."""
    folder = tmp_path_factory.mktemp("trained")
    list(fit(tiny(data, epochs=1), folder, threads=1))
    return folder


@pytest.fixture(scope="session")
def package(data: DataConfig, trained: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The package of that training's model; tests must not change it."""
    folder = tmp_path_factory.mktemp("packages") / "package"
    trainer.export(tiny(data), trained, folder)
    return folder
