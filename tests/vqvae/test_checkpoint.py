import os
import subprocess
import sys
from itertools import islice
from pathlib import Path

import pytest
import torch

from vqvae.checkpoint import BEST, LAST, Best, load, load_model
from vqvae.config import Config
from vqvae.errors import InputError
from vqvae.files import share_whole, write_whole
from vqvae.training import fit


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
        "from vqvae.training import fit\n"
        "config = Config.model_validate_json(sys.argv[1])\n"
        "for row in fit(config, Path(sys.argv[2]), threads=1): os._exit(9)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, config.model_dump_json(), str(tmp_path)], check=False
    )
    assert done.returncode == 9

    rows = list(fit(config, tmp_path, threads=1))

    assert [row.epoch for row in rows] == [1, 2, 3]
