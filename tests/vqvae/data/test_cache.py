import gc
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from vqvae.config import DataConfig
from vqvae.data.cache import cache_folder
from vqvae.data.nifti import read_slice, write_slice
from vqvae.data.splits import open_split
from vqvae.errors import InputError

OPEN = (
    "import sys; from vqvae.config import DataConfig;"
    "from vqvae.data.splits import open_split;"
    "print(len(open_split(DataConfig.model_validate_json(sys.argv[1]), 'train')))"
)


def test_a_split_is_decoded_once(tiny: DataConfig, capsys: pytest.CaptureFixture[str]) -> None:
    open_split(tiny, "train")
    assert "decoding train slices: 2" in capsys.readouterr().err
    open_split(tiny, "train")
    assert capsys.readouterr().err == ""


def test_a_changed_file_is_decoded_again(tiny: DataConfig) -> None:
    path = tiny.root / "keras_slices_train" / "case_004_week_0_slice_2.nii.gz"
    before = np.array(open_split(tiny, "train").groups[0].images[0])
    scan = read_slice(path)
    write_slice(path, scan.pixels[::-1].copy(), scan)
    os.utime(path, ns=(1, path.stat().st_mtime_ns + 1))
    after = open_split(tiny, "train").groups[0].images[0]
    np.testing.assert_array_equal(after, before[::-1])


def test_a_removed_slice_is_noticed(tiny: DataConfig) -> None:
    assert len(open_split(tiny, "train")) == 2
    (tiny.root / "keras_slices_train" / "case_004_week_0_slice_2.nii.gz").unlink()
    assert len(open_split(tiny, "train")) == 1


def test_several_processes_decode_a_split_once(phantom: Path, tmp_path: Path) -> None:
    config = DataConfig(root=phantom, cache=tmp_path / "cache").model_dump_json()
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", OPEN, config],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(3)
    ]
    results = [process.communicate(timeout=60) for process in processes]
    assert [out.strip() for out, _ in results] == ["24"] * 3
    assert sum(err.count("decoding") for _, err in results) == 1


def test_a_failed_build_leaves_no_entry(tiny: DataConfig) -> None:
    (tiny.root / "keras_slices_train" / "case_004_week_0_slice_2.nii.gz").write_bytes(b"nothing")
    with pytest.raises(InputError, match="slice_2"):
        open_split(tiny, "train")
    assert tiny.cache is not None
    assert [path.suffix for path in tiny.cache.iterdir()] == [".lock"]


def test_a_cache_folder_that_cannot_be_written_is_named(tiny: DataConfig, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    config = tiny.model_copy(update={"cache": tmp_path / "file" / "cache"})
    with pytest.raises(
        InputError, match=r"cache folder .*file/cache cannot be written \(Not a dir"
    ):
        open_split(config, "train")


def test_the_cache_folder_is_chosen_or_temporary_or_the_users(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert cache_folder(tmp_path) == tmp_path
    monkeypatch.setenv("TMPDIR", "/scratch/job")
    assert cache_folder(None).parent == Path("/scratch/job")
    monkeypatch.delenv("TMPDIR")
    monkeypatch.setenv("XDG_CACHE_HOME", "/home/me/cache")
    assert cache_folder(None) == Path("/home/me/cache/vqvae/slices")


def test_unused_entries_are_removed_after_a_week(tiny: DataConfig) -> None:
    assert tiny.cache is not None
    folder = tiny.root / "keras_slices_train"
    open_split(tiny, "train")
    open_split(tiny, "test")
    old, other = (next(tiny.cache.glob(f"{split}-*/")) for split in ("train", "test"))
    (folder / "case_004_week_0_slice_2.nii.gz").rename(folder / "case_004_week_0_slice_3.nii.gz")
    open_split(tiny, "train")
    assert old.exists()
    for entry in (old, other):
        os.utime(entry / "index.json", (1, 1))
    (folder / "case_004_week_0_slice_3.nii.gz").rename(folder / "case_004_week_0_slice_4.nii.gz")
    open_split(tiny, "train")
    assert not old.exists()
    assert not other.exists()
    assert len(list(tiny.cache.glob("train-*/"))) == 2


def test_unused_entries_of_other_data_sets_are_removed_but_no_other_files(tiny: DataConfig) -> None:
    assert tiny.cache is not None
    elsewhere = tiny.root.with_name("elsewhere")
    shutil.copytree(tiny.root, elsewhere)
    open_split(tiny.model_copy(update={"root": elsewhere}), "train")
    (tiny.cache / "notes.txt").write_text("a person's")
    (tiny.cache / "train-data").mkdir()
    for path in (*tiny.cache.rglob("*"),):
        os.utime(path, (1, 1))

    open_split(tiny, "train")

    kept = sorted(path.name for path in tiny.cache.iterdir())
    assert len(kept) == 4  # the new entry, its lock, and the two that are not entries
    assert {"notes.txt", "train-data"} < set(kept)


@pytest.mark.parametrize("damage", ["cut", "gone", "no index"])
def test_an_entry_that_cannot_be_mapped_is_written_again(tiny: DataConfig, damage: str) -> None:
    assert tiny.cache is not None
    before = np.array(open_split(tiny, "train").groups[0].images)
    entry = next(tiny.cache.glob("train-*/"))
    file = entry / "16x12.npy"
    match damage:
        case "cut":
            file.write_bytes(file.read_bytes()[:200])
        case "gone":
            file.unlink()
        case "no index":
            (entry / "index.json").write_text("")

    np.testing.assert_array_equal(open_split(tiny, "train").groups[0].images, before)


def test_a_slice_that_cannot_be_scored_is_refused_by_name(
    tiny: DataConfig, write: Callable[..., Path]
) -> None:
    name = "case_004_week_0_slice_3.nii"
    write(tiny.root / "keras_slices_train" / name, np.zeros((10, 40), np.int16))

    with pytest.raises(
        InputError, match=f"{name}: 10x40 pixels are too few; SSIM needs at least 11"
    ):
        open_split(tiny, "train")


def mapped(pid: int, folder: Path) -> tuple[int, int]:
    """The memory of a process for the files of a folder (resident, proportional share), in KiB."""
    sizes, in_folder = {"Rss:": 0, "Pss:": 0}, False
    for line in Path(f"/proc/{pid}/smaps").read_text().splitlines():
        word, _, rest = line.partition(" ")
        if "-" in word:  # the first line of a mapping
            in_folder = str(folder) in rest
        elif in_folder and word in sizes:
            sizes[word] += int(rest.split()[0])
    return sizes["Rss:"], sizes["Pss:"]


@pytest.mark.skipif(
    not Path("/proc/self/smaps").exists(), reason="only Linux reports mapped memory"
)
def test_workers_on_one_host_share_the_decoded_slices(phantom: Path, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    config = DataConfig(root=phantom, cache=cache)
    size = sum(group.images.nbytes for group in open_split(config, "train").groups) // 1024
    script = OPEN.replace("print(len(", "split = ").removesuffix("))")
    script += "; print(sum(int(group.images.sum()) for group in split.groups), flush=True); input()"
    workers = [
        subprocess.Popen(
            [sys.executable, "-c", script, config.model_dump_json()],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(2)
    ]
    assert len({worker.stdout.readline() for worker in workers}) == 1  # both have read every pixel
    gc.collect()  # unmaps the slices in this process
    for worker in workers:
        held, share = mapped(worker.pid, cache)
        assert held >= size
        assert share <= 0.6 * held
    for worker in workers:
        worker.communicate("\n", timeout=60)
