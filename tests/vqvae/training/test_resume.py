import errno
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from itertools import islice
from pathlib import Path

import pytest
import torch

from tests.vqvae.conftest import tiny
from tests.vqvae.training.conftest import checkpoint_of, repeatable_metrics, train
from vqvae.config import Config, DataConfig
from vqvae.errors import InputError, UnavailableError
from vqvae.training.checkpoint import BEST, LAST, Objective, load, save
from vqvae.training.loop import fit
from vqvae.training.resume import adopt, find_checkpoint


def test_the_best_checkpoint_is_copied_to_the_new_folder(config: Config, tmp_path: Path) -> None:
    train(config, tmp_path / "one", upto=2)
    best = load(tmp_path / "one" / BEST)

    rows = train(config, tmp_path / "two", upto=1, continue_from=[tmp_path / "one"])

    assert rows == [load(tmp_path / "one" / LAST).row]
    assert load(tmp_path / "two" / BEST).row == best.row
    assert load(tmp_path / "two" / LAST).row == rows[0]


def test_a_kill_between_last_and_best_is_repaired(config: Config, tmp_path: Path) -> None:
    train(config, tmp_path, upto=1)
    (tmp_path / BEST).unlink()

    train(config, tmp_path, upto=1)

    assert load(tmp_path / BEST).row.epoch == 1


def test_a_best_epoch_by_another_metric_is_refused(config: Config, tmp_path: Path) -> None:
    train(config, tmp_path, upto=1)

    with pytest.raises(InputError, match=r"best.pt was chosen by val/ssim, not val/loss"):
        train(config, tmp_path, objective=Objective("val/loss", maximize=False))


def test_another_configuration_is_refused(config: Config, data: DataConfig, tmp_path: Path) -> None:
    train(config, tmp_path, upto=1)

    with pytest.raises(InputError, match=r"model.width = 8, not 16"):
        train(tiny(data, width=16), tmp_path)


def test_resuming_with_another_number_of_threads_is_logged(
    config: Config, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    train(config, tmp_path, upto=1)

    list(fit(config, tmp_path, threads=2))

    assert "resuming with 2 CPU threads after 1" in caplog.text


def test_other_data_are_refused_but_may_move(data: DataConfig, tmp_path: Path) -> None:
    shutil.copytree(data.root, tmp_path / "set")
    moved = data.model_copy(update={"root": tmp_path / "set"})
    train(tiny(data), tmp_path / "run", upto=1)

    assert train(tiny(moved), tmp_path / "run", upto=2)[-1].epoch == 2

    next((tmp_path / "set").rglob("case_005*slice_1*")).unlink()
    with pytest.raises(InputError, match=r"run: holds a run on other data than .*set has now"):
        train(tiny(moved), tmp_path / "run")


def test_a_refused_training_does_not_create_the_new_folder(
    config: Config, data: DataConfig, tmp_path: Path
) -> None:
    train(config, tmp_path / "one", upto=1)

    with pytest.raises(InputError, match=r"one: holds a run with model.width = 8, not 16"):
        train(tiny(data, width=16), tmp_path / "two", continue_from=[tmp_path / "one"])

    assert not (tmp_path / "two").exists()
    assert train(tiny(data, width=16), tmp_path / "two", upto=1)[0].epoch == 1


def test_moving_the_folder_changes_nothing(config: Config, tmp_path: Path) -> None:
    whole = train(config, tmp_path / "whole")
    train(config, tmp_path / "here", upto=2)
    shutil.move(tmp_path / "here", tmp_path / "there")

    rows = train(config, tmp_path / "there")

    assert repeatable_metrics(rows[-1]) == repeatable_metrics(whole[-1])


def test_a_checkpoint_that_cannot_be_read_now_is_not_treated_as_damaged(
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


def test_files_of_a_killed_writer_are_removed(trained: Path, config: Config) -> None:
    (trained / f".{LAST}.draft-1").write_bytes(b"half")

    list(islice(fit(config, trained, threads=1), 1))

    assert sorted(path.name for path in trained.iterdir()) == [BEST, LAST]


def test_a_killed_training_can_be_resumed(config: Config, tmp_path: Path) -> None:
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


def truncate(file: Path) -> None:
    content = file.read_bytes()
    file.unlink()  # its other names keep the old content
    file.write_bytes(content[: len(content) // 2])


def flip(file: Path) -> None:
    """Change a byte inside a tensor: damage that torch itself does not notice."""
    content = bytearray(file.read_bytes())
    at = bytes(content).index(b"data/0") + 200
    content[at] ^= 0xFF
    file.unlink()
    file.write_bytes(content)


def empty(file: Path) -> None:
    file.unlink()
    file.touch()


@pytest.mark.parametrize("damage", [truncate, flip, empty])
@pytest.mark.parametrize("elsewhere", [False, True], ids=["same-folder", "new-folder"])
def test_a_training_resumes_from_the_checkpoint_before_a_damaged_one(
    config: Config, tmp_path: Path, damage: Callable[[Path], None], elsewhere: bool
) -> None:
    whole = list(fit(config, tmp_path / "whole", threads=1))
    list(islice(fit(config, tmp_path / "cut", threads=1), 2))
    damage(tmp_path / "cut" / LAST)

    folder = tmp_path / "new" if elsewhere else tmp_path / "cut"
    rows = list(fit(config, folder, threads=1, continue_from=[tmp_path / "cut"]))

    assert [row.epoch for row in rows] == [1, 2, 3]
    assert rows[-1].metrics["val/loss"] == whole[-1].metrics["val/loss"]
    for name in (LAST, BEST):
        one, other = load(tmp_path / "whole" / name).model, load(folder / name).model
        assert all(torch.equal(value, other[key]) for key, value in one.items())


def test_a_training_resumes_from_an_earlier_attempt_if_one_has_no_intact_checkpoint(
    config: Config, tmp_path: Path
) -> None:
    list(islice(fit(config, tmp_path / "one", threads=1), 1))
    list(islice(fit(config, tmp_path / "two", threads=1, continue_from=[tmp_path / "one"]), 2))
    for file in (tmp_path / "two").iterdir():
        truncate(file)

    earlier = [tmp_path / "two", tmp_path / "one"]
    rows = list(fit(config, tmp_path / "three", threads=1, continue_from=earlier))

    assert [row.epoch for row in rows] == [1, 2, 3]


def test_training_starts_from_the_beginning_if_all_checkpoints_are_damaged(
    config: Config, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    first = list(islice(fit(config, tmp_path / "one", threads=1), 1))
    truncate(tmp_path / "one" / LAST)

    rows = list(fit(config, tmp_path / "two", threads=1, continue_from=[tmp_path / "one"]))

    assert [row.epoch for row in rows] == [1, 2, 3]
    assert rows[0].metrics["val/loss"] == first[0].metrics["val/loss"]
    assert "last.pt: not a checkpoint of this program; looking for" in caplog.text
    assert "training starts from the beginning" in caplog.text


def test_damaged_checkpoints_in_the_own_folder_are_not_overwritten(
    config: Config, tmp_path: Path
) -> None:
    list(islice(fit(config, tmp_path, threads=1), 1))
    truncate(tmp_path / LAST)
    left = (tmp_path / LAST).read_bytes()

    with pytest.raises(InputError, match=r"last.pt: not a checkpoint"):
        list(fit(config, tmp_path, threads=1))

    assert (tmp_path / LAST).read_bytes() == left


def test_the_best_epoch_is_that_of_the_checkpoint_before_a_damaged_one(
    trained: Path, tmp_path: Path
) -> None:
    """The damaged epoch was the best so far, but the one before it was not."""
    for epoch, best in ((1, 1), (2, 1), (3, 3)):
        save(checkpoint_of(trained, epoch, best), tmp_path / "one")
    truncate(tmp_path / "one" / LAST)

    found = find_checkpoint(tmp_path / "two", [tmp_path / "one"])
    adopt(found, tmp_path / "two")

    assert load(tmp_path / "two" / LAST).row.epoch == 2
    assert load(tmp_path / "two" / BEST).row.epoch == 1
