"""Whether data are ready is found before any training, and nothing is written for that."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.vqvae.conftest import tiny
from vqvae.config import DataConfig, PhantomConfig
from vqvae.data.readiness import check_data
from vqvae.errors import InputError
from vqvae.sweep import trainer

PHANTOM = PhantomConfig(
    train_patients=2, validate_patients=1, test_patients=1, volumes=1, slices=4, height=64, width=32
)


@pytest.fixture
def copy(data: DataConfig, tmp_path: Path) -> DataConfig:
    """The data set in a folder that a test may change, and no cache yet."""
    shutil.copytree(data.root, tmp_path / "set")
    return DataConfig(root=tmp_path / "set", cache=tmp_path / "cache")


def files_below(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}


def test_data_that_are_ready_are_described_and_nothing_is_written(
    copy: DataConfig, tmp_path: Path
) -> None:
    before = files_below(tmp_path)
    found = trainer.check_data([tiny(copy), tiny(copy, batch_size=12)])
    assert found == f"12 training slices of 3 patients in {copy.root}"
    assert files_below(tmp_path) == before


def test_a_phantom_that_does_not_exist_yet_is_not_written(tmp_path: Path) -> None:
    config = DataConfig(root=tmp_path / "new" / "set", phantom=PHANTOM, cache=tmp_path / "cache")
    assert check_data(config, 8).endswith("a synthetic data set will be written there")
    with pytest.raises(InputError, match=r"batch_size = 9 is more than the 8 training slices"):
        check_data(config, 9)
    assert files_below(tmp_path) == set()
    assert trainer.prepare([tiny(config, batch_size=8)])
    assert check_data(config, 8).startswith("8 training slices of 2 patients in ")


def remove_training_split(data: DataConfig) -> None:
    shutil.rmtree(data.root / "keras_slices_data" / "keras_slices_train")


def rename_splits(data: DataConfig) -> None:
    (data.root / "keras_slices_data").rename(data.root / "slices")


def damage_first(data: DataConfig) -> None:
    next(data.root.rglob("case_004_week_0_slice_0*")).write_bytes(b"nothing")


def add_odd_name(data: DataConfig) -> None:
    (data.root / "keras_slices_data" / "keras_slices_test" / "scan.nii").write_bytes(b"")


BROKEN: dict[str, tuple[Callable[[DataConfig], None], str]] = {
    "no folder": (lambda data: shutil.rmtree(data.root), "data folder .*set does not exist"),
    "a folder of another layout": (rename_splits, "set holds no keras_slices_train"),
    "no training split": (remove_training_split, "keras_slices_train does not exist"),
    "a slice that is no NIfTI file": (damage_first, "case_004_week_0_slice_0"),
    "a name of another form": (add_odd_name, r"scan.nii: not named like a slice \(slices are"),
}


@pytest.mark.parametrize("kind", BROKEN)
def test_data_that_cannot_be_used_are_refused_before_training(kind: str, copy: DataConfig) -> None:
    damage, message = BROKEN[kind]
    damage(copy)
    for check in (trainer.check_data, trainer.prepare):
        with pytest.raises(ValueError, match=message):
            check([tiny(copy)])


def test_a_slice_that_cannot_be_read_may_be_skipped(copy: DataConfig) -> None:
    damage_first(copy)
    add_odd_name(copy)
    skipping = copy.model_copy(update={"on_bad_slice": "skip"})
    assert "training slices" in check_data(skipping, 3)


def test_a_cache_folder_that_is_a_file_is_refused_unless_the_data_are_decoded(
    copy: DataConfig, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    config = copy.model_copy(update={"cache": tmp_path / "file" / "cache"})
    with pytest.raises(InputError, match=r"cache folder .* \(.*file is a file\); set data.cache"):
        check_data(config, 3)


def test_folders_that_only_others_may_write_are_named(copy: DataConfig, tmp_path: Path) -> None:
    """In a process without root's rights: for root every folder can be written."""
    if os.getuid() or shutil.which("setpriv") is None:
        pytest.skip("needs root, and setpriv to give up its rights")
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o555)
    code = (
        "import sys; from pathlib import Path; from vqvae.config import *; "
        "from vqvae.data.readiness import check_data; root, cache, phantom = sys.argv[1:]; "
        "wanted = PhantomConfig() if phantom else None; "
        "config = DataConfig(root=root, cache=cache, phantom=wanted)\n"
        "try: print(check_data(config, 1))\nexcept ValueError as error: print(error)"
    )
    drop = ["setpriv", "--bounding-set=-dac_override,-dac_read_search", "--inh-caps=-all"]

    def answer(root: Path, cache: Path, phantom: str = "") -> str:
        command = [*drop, sys.executable, "-c", code, str(root), str(cache), phantom]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout

    advice = f"({closed} is read-only for you); set data.cache or $TMPDIR to another folder\n"
    assert answer(copy.root, closed / "cache").endswith(f"/cache cannot be written {advice}")
    advice = f"({closed} is read-only for you); set data.root to another folder\n"
    assert answer(closed / "set", tmp_path / "cache", "yes").endswith(f"cannot be written {advice}")
    next(copy.root.rglob("case_036_week_0_slice_0*")).chmod(0)
    assert "case_036_week_0_slice_0" in answer(copy.root, tmp_path / "cache")


@pytest.mark.parametrize("device", ["auto", "cpu"])
def test_no_gpu_is_needed_where_none_is_asked_for(data: DataConfig, device: str) -> None:
    assert "CPU" in trainer.check_device([tiny(data, device=device)], gpu=False)


@pytest.mark.parametrize(
    ("device", "gpu", "message"),
    [
        ("cuda", False, "training.device 'cuda': torch finds no CUDA device on this host; use"),
        ("auto", True, r"each job is to have a GPU \(gpus = 1 in the cluster file\), but torch"),
    ],
)
def test_a_missing_gpu_is_named(
    data: DataConfig, device: str, gpu: bool, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    configs = [tiny(data, device="cpu"), tiny(data, device=device)]
    with pytest.raises(InputError, match=message):
        trainer.check_device(configs, gpu=gpu)
