import inspect
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import nibabel
import numpy as np
import pytest
from PIL import Image

from sweeps.trainer import Trainer, load_trainer
from tests.vqvae.conftest import tiny
from vqvae.config import DataConfig, PhantomConfig
from vqvae.data.layout import list_splits
from vqvae.data.splits import open_split
from vqvae.errors import InputError
from vqvae.sweep import trainer
from vqvae.training.checkpoint import LAST, Best, load
from vqvae.training.loop import fit


def test_a_sweep_finds_the_trainer_by_its_name() -> None:
    assert load_trainer("vqvae.sweep:trainer") is trainer


@pytest.mark.parametrize("name", [name for name in vars(Trainer) if not name.startswith("_")])
def test_the_trainer_has_the_signatures_of_the_protocol(name: str) -> None:
    required, found = getattr(Trainer, name), getattr(trainer, name)

    expected = list(inspect.signature(required).parameters.values())[1:]
    parameters = list(inspect.signature(found).parameters.values())
    assert [(p.name, p.kind) for p in parameters] == [(p.name, p.kind) for p in expected]


def test_metrics_that_can_be_optimized_have_finite_bounds() -> None:
    assert trainer.bounds["val/ssim"] == (-1, 1)
    assert trainer.bounds["val/psnr"] == (0, 100)
    assert trainer.bounds["val/loss"] == (1e9, 0)
    assert all(abs(bound) < float("inf") for pair in trainer.bounds.values() for bound in pair)


def test_preparing_returns_one_fingerprint_for_one_data_set(data: DataConfig) -> None:
    configs = [tiny(data), tiny(data, batch_size=6)]

    fingerprint = trainer.prepare(configs)

    assert fingerprint == trainer.prepare(configs[:1])
    assert len(fingerprint) == 64


def test_preparing_writes_the_phantom_of_the_configuration(tmp_path: Path) -> None:
    small = PhantomConfig(
        train_patients=1,
        validate_patients=1,
        test_patients=1,
        volumes=1,
        slices=2,
        height=64,
        width=32,
    )
    config = tiny(DataConfig(root=tmp_path / "phantom", phantom=small), batch_size=2)

    assert trainer.prepare([config]) == trainer.prepare([config])
    assert (tmp_path / "phantom").is_dir()


def test_a_batch_larger_than_the_training_set_is_refused(data: DataConfig) -> None:
    configs = [tiny(data), tiny(data, batch_size=13)]

    with pytest.raises(InputError, match=r"batch_size = 13 is more than the 12 training slices"):
        trainer.prepare(configs)


def test_a_batch_is_compared_with_the_number_of_slices_that_can_be_read(
    data: DataConfig, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    shutil.copytree(data.root, tmp_path / "set")
    next((tmp_path / "set").rglob("case_005*slice_1*")).write_bytes(b"nothing")
    update = {"root": tmp_path / "set", "on_bad_slice": "skip"}

    with pytest.raises(InputError, match=r"batch_size = 12 is more than the 11 training slices"):
        trainer.prepare([tiny(data.model_copy(update=update), batch_size=12)])
    assert "train: 1 slice left out: " in caplog.text


def test_a_segmentation_of_another_size_is_found_before_the_training(
    data: DataConfig, tmp_path: Path
) -> None:
    shutil.copytree(data.root, tmp_path / "set")
    file = list_splits(tmp_path / "set")["test"].files[0]
    wrong = file.path.parent.with_name("keras_slices_seg_test") / f"{file.name.stem('seg')}.nii"
    wrong.parent.mkdir()
    nibabel.Nifti1Image(np.ones((62, 32), np.float32), np.eye(4)).to_filename(wrong)
    update = {"root": tmp_path / "set"}

    with pytest.raises(InputError, match=r"a segmentation of 62x32 pixels for a slice of 32x24"):
        trainer.prepare([tiny(data.model_copy(update=update))])


def test_missing_data_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=str(tmp_path / "absent")):
        trainer.prepare([tiny(DataConfig(root=tmp_path / "absent"))])


def test_the_figure_is_large_enough_to_be_seen(
    data: DataConfig, trained: Path, tmp_path: Path
) -> None:
    trainer.write_figure(tiny(data), trained, tmp_path / "figure.png")

    with Image.open(tmp_path / "figure.png") as figure:
        assert figure.width > 1000
        assert figure.height > 700
        assert len(figure.getcolors(1 << 24)) > 50


def test_the_preview_shows_the_middle_slice_of_the_first_volume_by_any_model(
    data: DataConfig, trained: Path, tmp_path: Path
) -> None:
    list(fit(tiny(data, epochs=1, seed=5), tmp_path, threads=1))
    group = open_split(data, "validate").groups[0]
    first = [at for at, name in enumerate(group.names) if name.case == group.names[0].case]
    assert {group.names[at].week for at in first} == {group.names[0].week}
    expected = np.round(group.images[first[len(first) // 2]].astype(float) / 65535 * 255)

    made = []
    for folder in (trained, tmp_path):
        trainer.write_figure(tiny(data), folder, tmp_path / "figure.png")
        with Image.open(tmp_path / "preview.png") as preview:
            pixels = np.asarray(preview.convert("L"))
        times = pixels.shape[1] // (2 * expected.shape[1])
        rows = pixels[pixels.shape[0] - expected.shape[0] * times :: times, ::times]
        assert np.abs(rows[:, : expected.shape[1]] - expected).max() <= 1
        made.append(rows[:, expected.shape[1] :])
    assert not np.array_equal(*made)


def test_any_object_with_these_attributes_is_an_objective(data: DataConfig, tmp_path: Path) -> None:
    objective = SimpleNamespace(metric="val/loss", maximize=False)

    rows = list(
        trainer.fit(
            tiny(data),
            tmp_path,
            continue_from=[],
            threads=1,
            should_stop=lambda: False,
            objective=objective,
            accumulation_steps=1,
        )
    )

    best = min(rows, key=lambda row: row.metrics["val/loss"])
    assert load(tmp_path / LAST).best == Best(best.epoch, "val/loss", best.metrics["val/loss"])


def test_importing_the_trainer_does_not_import_torch() -> None:
    subprocess.run(
        [sys.executable, "-c", "import sys, vqvae.sweep; assert 'torch' not in sys.modules"],
        check=True,
    )
