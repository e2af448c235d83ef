"""Decoded slices are copied to a disk of this host only where that helps."""

import json
import logging
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from vqvae.config import Config, DataConfig
from vqvae.data import staging
from vqvae.data.splits import Split, open_split
from vqvae.data.staging import file_system
from vqvae.sweep import Trainer
from vqvae.training.checkpoint import Objective

OPEN = (
    "import sys; from pathlib import Path; from vqvae.config import DataConfig;"
    "from vqvae.data import staging; from vqvae.data.splits import open_split;"
    "staging.MOUNTS = Path(sys.argv[3]);"
    "split = open_split(DataConfig.model_validate_json(sys.argv[1]), 'train', None, "
    "Path(sys.argv[2])); print(split.groups[0].images.filename)"
)


@pytest.fixture
def scratch(tmp_path: Path) -> Path:
    folder = tmp_path / "scratch"
    folder.mkdir()
    return folder


def mount(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cache: str, scratch: str) -> Path:
    """Let the kernel's table say that the two folders are on file systems of these types."""
    mounts = tmp_path / "mounts"
    rows = [("/", "ext4"), (f"{tmp_path}/cache", cache), (f"{tmp_path}/scratch", scratch)]
    mounts.write_text("".join(f"device {point} {kind} rw 0 0\n" for point, kind in rows))
    monkeypatch.setattr(staging, "MOUNTS", mounts)
    return mounts


def file_of(split: Split) -> Path:
    return Path(str(split.groups[0].images.filename))  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("cache", "scratch_type", "copied"),
    [
        ("nfs4", "ext4", True),
        ("lustre", "xfs", True),
        ("gpfs", "overlay", True),
        ("fuse.glusterfs", "ext4", True),
        ("ext4", "ext4", False),  # the cache is on this host already
        ("nfs4", "beegfs", False),
        ("nfs4", "tmpfs", False),
    ],
)
def test_slices_are_copied_from_a_network_to_a_disk_only(
    cache: str, scratch_type: str, copied: bool, tiny: DataConfig, tmp_path: Path, scratch: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    mount(tmp_path, monkeypatch, cache, scratch_type)
    monkeypatch.setattr(staging, "SPARE_BYTES", 0)
    original = open_split(tiny, "train")
    split = open_split(tiny, "train", None, scratch)
    assert file_of(split).is_relative_to(scratch) == copied
    np.testing.assert_array_equal(split.groups[0].images, original.groups[0].images)
    assert split.groups[0].names == original.groups[0].names


def test_without_room_the_original_is_read_and_the_reason_logged(
    tiny: DataConfig, tmp_path: Path, scratch: Path, monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    mount(tmp_path, monkeypatch, "nfs4", "ext4")
    monkeypatch.setattr(staging, "SPARE_BYTES", 2**60)
    with caplog.at_level(logging.WARNING):
        split = open_split(tiny, "train", None, scratch)
    assert not file_of(split).is_relative_to(scratch)
    assert "no copy of the slices" in caplog.text
    assert [path.suffix for path in scratch.iterdir()] == [".lock"]


def test_a_disk_that_fails_while_copying_leaves_nothing_and_the_original_is_read(
    tiny: DataConfig, tmp_path: Path, scratch: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mount(tmp_path, monkeypatch, "nfs4", "ext4")
    monkeypatch.setattr(staging, "SPARE_BYTES", 0)

    def fail(source: Path, copy: Path) -> None:
        copy.write_bytes(b"half")
        raise OSError(28, "No space left on device", str(copy))

    monkeypatch.setattr(shutil, "copyfile", fail)
    assert not file_of(open_split(tiny, "train", None, scratch)).is_relative_to(scratch)
    assert [path.suffix for path in scratch.iterdir()] == [".lock"]


def test_a_copy_that_is_removed_or_cut_off_is_made_again_or_passed_over(
    tiny: DataConfig, tmp_path: Path, scratch: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mount(tmp_path, monkeypatch, "nfs4", "ext4")
    monkeypatch.setattr(staging, "SPARE_BYTES", 0)
    copied = file_of(open_split(tiny, "train", None, scratch))
    copied.write_bytes(copied.read_bytes()[:-1])
    again = open_split(tiny, "train", None, scratch)
    np.testing.assert_array_equal(
        again.groups[0].images, open_split(tiny, "train").groups[0].images
    )
    monkeypatch.setattr("vqvae.data.splits.staged", lambda _entry, scratch: scratch / "removed")
    assert not file_of(open_split(tiny, "train", None, scratch)).is_relative_to(scratch)
    assert not file_of(open_split(tiny, "train", None, tmp_path / "gone")).is_relative_to(scratch)


def test_several_processes_share_one_copy(
    tiny: DataConfig, tmp_path: Path, scratch: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mounts = mount(tmp_path, monkeypatch, "nfs4", "ext4")
    command = [sys.executable, "-c", OPEN, tiny.model_dump_json(), str(scratch), str(mounts)]
    processes = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    files = {process.communicate(timeout=60)[0].strip() for process in processes}
    assert len(files) == 1
    assert Path(files.pop()).is_relative_to(scratch)
    assert len(list(scratch.glob("train-*/index.json"))) == 1


def test_the_innermost_and_latest_mount_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mounts = tmp_path / "mounts"
    mounts.write_text(
        "a / ext4 rw 0 0\nb /my\\040home nfs4 rw 0 0\nc /my\\040home/tmp xfs rw 0 0\n"
        "d /auto autofs rw 0 0\nodd\ne /auto lustre rw 0 0\n"
    )
    monkeypatch.setattr(staging, "MOUNTS", mounts)
    found = {
        path: file_system(Path(path)) for path in ("/my home/x", "/my home/tmp/x", "/my homes")
    }
    assert json.dumps(list(found.values())) == '["nfs4", "xfs", "ext4"]'
    assert file_system(Path("/auto/x")) == "lustre"


@pytest.mark.parametrize("value", [None, "", "scratch"])
def test_a_sweep_names_the_folder_in_a_variable(
    value: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = []
    monkeypatch.setattr("vqvae.training.loop.fit", lambda *_, **named: given.append(named))
    monkeypatch.delenv("SWEEP_SCRATCH", raising=False)
    if value is not None:
        monkeypatch.setenv("SWEEP_SCRATCH", value and str(tmp_path / value))
    Trainer().fit(
        Config(data=DataConfig(root=tmp_path)),
        tmp_path,
        continue_from=(),
        threads=1,
        should_stop=lambda: False,
        objective=Objective("val/ssim", maximize=True),
        accumulation_steps=1,
    )
    assert given[0]["scratch"] == (tmp_path / value if value else None)
