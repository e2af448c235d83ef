import errno
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from itertools import islice
from pathlib import Path

import pytest
import torch

from vqvae.config import Config
from vqvae.errors import InputError, UnavailableError
from vqvae.files import share_whole, write_whole
from vqvae.training.checkpoint import (
    BEST,
    LAST,
    PREVIOUS,
    Best,
    Checkpoint,
    adopt,
    find_checkpoint,
    load,
    load_model,
    save,
)
from vqvae.training.loop import fit


@pytest.fixture
def trained(config: Config, tmp_path: Path) -> Path:
    list(islice(fit(config, tmp_path / "run", threads=1), 1))
    return tmp_path / "run"


def test_a_checkpoint_holds_nothing_that_must_be_unpickled(trained: Path) -> None:
    found = torch.load(trained / LAST, weights_only=True)

    whole = {"model", "optimizer", "random", "step", "best", "row", "config", "threads", "data"}
    assert whole == set(found)


def test_a_model_loads_from_its_folder_or_its_file(trained: Path, config: Config) -> None:
    model, checkpoint = load_model(trained)

    assert not model.training
    assert checkpoint.config == config
    again, _ = load_model(trained / BEST)
    images = torch.rand(1, 1, 16, 16)
    assert torch.equal(model(images)[0], again(images)[0])


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 half a file", b"text"])
def test_what_is_not_a_checkpoint_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / LAST).write_bytes(content)

    with pytest.raises(InputError, match=r"last.pt: not a checkpoint of this program"):
        load(tmp_path / LAST)


def test_a_checkpoint_that_would_run_code_is_refused(tmp_path: Path) -> None:
    torch.save({"config": os.system}, tmp_path / LAST)

    with pytest.raises(InputError, match="not a checkpoint"):
        load(tmp_path / LAST)


def test_a_path_through_a_file_is_no_checkpoint(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("text")

    with pytest.raises(InputError, match=r"file/last.pt: no such checkpoint"):
        load_model(tmp_path / "file" / LAST)
    with pytest.raises(InputError, match="cannot be read"):
        load(tmp_path)


def test_a_checkpoint_that_cannot_be_read_now_is_not_taken_for_damaged(
    trained: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    read = Path.read_bytes

    def stale(path: Path) -> bytes:
        if path == trained / LAST:
            raise OSError(errno.ESTALE, os.strerror(errno.ESTALE), str(path))
        return read(path)

    monkeypatch.setattr(Path, "read_bytes", stale)
    with pytest.raises(UnavailableError, match="cannot be read"):
        find_checkpoint(tmp_path / "next", [trained])
    monkeypatch.undo()
    assert find_checkpoint(tmp_path / "next", [trained]).checkpoint.row.epoch == 1


@pytest.mark.parametrize("part", ["model", "optimizer", "random"])
def test_tensors_that_do_not_fit_are_refused(trained: Path, config: Config, part: str) -> None:
    found = torch.load(trained / LAST, weights_only=True)
    found[part] = torch.zeros(3) if part == "random" else {"surprise": torch.zeros(3)}
    (trained / BEST).unlink()
    torch.save(found, trained / LAST)

    with pytest.raises(InputError, match=r"last.pt: its tensors do not fit its configuration"):
        list(fit(config, trained, threads=1))
    if part == "model":
        with pytest.raises(InputError, match=r"best.pt: its tensors do not fit"):
            load_model(trained)


def test_a_checkpoint_from_before_metrics_could_be_chosen_loads(
    trained: Path, config: Config
) -> None:
    found = torch.load(trained / LAST, weights_only=True)
    best = found["best"]
    found["best"] = {"epoch": best["epoch"], "ssim": best["value"]}
    del found["threads"], found["data"]
    torch.save(found, trained / LAST)

    assert load(trained / LAST).best == Best(1, "val/ssim", best["value"])
    assert [row.epoch for row in fit(config, trained, threads=1)] == [1, 2, 3]


def test_what_a_killed_writer_left_is_removed(trained: Path, config: Config) -> None:
    (trained / f".{LAST}.draft-1").write_bytes(b"half")

    list(islice(fit(config, trained, threads=1), 1))

    assert sorted(path.name for path in trained.iterdir()) == [BEST, LAST]


def test_best_costs_no_second_copy(trained: Path) -> None:
    assert (trained / BEST).samefile(trained / LAST)
    assert sorted(path.name for path in trained.iterdir()) == [BEST, LAST]


def test_a_failed_write_leaves_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "file"
    write_whole(path, b"old")

    def fail(_: int) -> None:
        raise OSError("disk quota exceeded")

    monkeypatch.setattr("vqvae.files.os.fsync", fail)
    with pytest.raises(OSError, match="quota"):
        write_whole(path, b"new")

    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_shared_file_is_copied_where_links_are_not_to_be_had(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "one").write_bytes(b"content")

    def refuse(*_: object) -> None:
        raise OSError("cross-device link")

    monkeypatch.setattr(Path, "hardlink_to", refuse)
    share_whole(tmp_path / "one", tmp_path / "two")
    share_whole(tmp_path / "one", tmp_path / "two")

    assert (tmp_path / "two").read_bytes() == b"content"
    assert not (tmp_path / "two").samefile(tmp_path / "one")


def test_sharing_twice_leaves_nothing_behind(tmp_path: Path) -> None:
    (tmp_path / "one").write_bytes(b"content")

    share_whole(tmp_path / "one", tmp_path / "two")
    share_whole(tmp_path / "one", tmp_path / "two")

    assert sorted(path.name for path in tmp_path.iterdir()) == ["one", "two"]


def test_a_killed_process_can_be_continued(config: Config, tmp_path: Path) -> None:
    code = (
        "import os, sys; from pathlib import Path; from vqvae.config import Config\n"
        "from vqvae.training.loop import fit\n"
        "config = Config.model_validate_json(sys.argv[1])\n"
        "for row in fit(config, Path(sys.argv[2]), threads=1): os._exit(9)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, config.model_dump_json(), str(tmp_path)], check=False
    )
    assert done.returncode == 9

    rows = list(fit(config, tmp_path, threads=1))

    assert [row.epoch for row in rows] == [1, 2, 3]


def cut_short(file: Path) -> None:
    content = file.read_bytes()
    file.unlink()  # its other names keep what they had
    file.write_bytes(content[: len(content) // 2])


def flip(file: Path) -> None:
    """Damage that torch itself does not see: other bytes within a tensor."""
    content = bytearray(file.read_bytes())
    at = bytes(content).index(b"data/0") + 200
    content[at] ^= 0xFF
    file.unlink()
    file.write_bytes(content)


def empty(file: Path) -> None:
    file.unlink()
    file.touch()


@pytest.mark.parametrize("harm", [cut_short, flip, empty])
@pytest.mark.parametrize("elsewhere", [False, True], ids=["same-folder", "new-folder"])
def test_the_checkpoint_before_a_damaged_one_is_gone_on_from(
    config: Config, tmp_path: Path, harm: Callable[[Path], None], elsewhere: bool
) -> None:
    whole = list(fit(config, tmp_path / "whole", threads=1))
    list(islice(fit(config, tmp_path / "cut", threads=1), 2))
    harm(tmp_path / "cut" / LAST)

    folder = tmp_path / "new" if elsewhere else tmp_path / "cut"
    rows = list(fit(config, folder, threads=1, continue_from=[tmp_path / "cut"]))

    assert [row.epoch for row in rows] == [1, 2, 3]
    assert rows[-1].metrics["val/loss"] == whole[-1].metrics["val/loss"]
    for name in (LAST, BEST):
        one, other = load(tmp_path / "whole" / name).model, load(folder / name).model
        assert all(torch.equal(value, other[key]) for key, value in one.items())


def test_the_attempt_before_is_gone_on_from_where_one_is_damaged_throughout(
    config: Config, tmp_path: Path
) -> None:
    list(islice(fit(config, tmp_path / "one", threads=1), 1))
    list(islice(fit(config, tmp_path / "two", threads=1, continue_from=[tmp_path / "one"]), 2))
    for file in (tmp_path / "two").iterdir():
        cut_short(file)

    earlier = [tmp_path / "two", tmp_path / "one"]
    rows = list(fit(config, tmp_path / "three", threads=1, continue_from=earlier))

    assert [row.epoch for row in rows] == [1, 2, 3]


def test_training_begins_anew_where_nothing_is_whole(
    config: Config, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    first = list(islice(fit(config, tmp_path / "one", threads=1), 1))
    cut_short(tmp_path / "one" / LAST)

    rows = list(fit(config, tmp_path / "two", threads=1, continue_from=[tmp_path / "one"]))

    assert [row.epoch for row in rows] == [1, 2, 3]
    assert rows[0].metrics["val/loss"] == first[0].metrics["val/loss"]
    assert "last.pt: not a checkpoint of this program; looking for" in caplog.text
    assert "training begins anew" in caplog.text


def test_damaged_files_of_ones_own_are_not_written_over(config: Config, tmp_path: Path) -> None:
    list(islice(fit(config, tmp_path, threads=1), 1))
    cut_short(tmp_path / LAST)
    left = (tmp_path / LAST).read_bytes()

    with pytest.raises(InputError, match=r"last.pt: not a checkpoint"):
        list(fit(config, tmp_path, threads=1))

    assert (tmp_path / LAST).read_bytes() == left


def checkpoint_of(trained: Path, epoch: int, best: int) -> Checkpoint:
    found = load(trained / LAST)
    row = replace(found.row, epoch=epoch)
    return replace(found, row=row, best=Best(best, "val/ssim", 0.5))


def test_the_best_epoch_is_the_one_that_the_checkpoint_before_had(
    trained: Path, tmp_path: Path
) -> None:
    """The damaged epoch was the best so far, and the one before it was not."""
    for epoch, best in ((1, 1), (2, 1), (3, 3)):
        save(checkpoint_of(trained, epoch, best), tmp_path / "one")
    cut_short(tmp_path / "one" / LAST)

    found = find_checkpoint(tmp_path / "two", [tmp_path / "one"])
    adopt(found, tmp_path / "two")

    assert load(tmp_path / "two" / LAST).row.epoch == 2
    assert load(tmp_path / "two" / BEST).row.epoch == 1


def test_what_is_kept_to_fall_back_on_is_three_files_at_most(trained: Path, tmp_path: Path) -> None:
    for epoch, best in ((1, 1), (2, 1), (3, 3), (4, 4), (5, 4), (6, 4)):
        save(checkpoint_of(trained, epoch, best), tmp_path / "one")
        assert len({file.stat().st_ino for file in (tmp_path / "one").iterdir()}) <= 3


def test_a_finished_training_keeps_last_and_best_alone(config: Config, tmp_path: Path) -> None:
    for row in fit(config, tmp_path, threads=1):
        assert (tmp_path / PREVIOUS).exists() == (row.epoch > 1)

    assert sorted(path.name for path in tmp_path.iterdir()) == [BEST, LAST]


def test_no_harm_to_a_file_goes_unseen(trained: Path, tmp_path: Path) -> None:
    content = (trained / LAST).read_bytes()
    for at in range(0, len(content), 997):
        (tmp_path / "cut").write_bytes(content[:at])
        with pytest.raises(InputError, match="not a checkpoint"):
            load(tmp_path / "cut")
