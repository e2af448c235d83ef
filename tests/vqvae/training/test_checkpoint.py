import os
from pathlib import Path

import pytest
import torch

from tests.vqvae.training.conftest import checkpoint_of
from vqvae.config import Config
from vqvae.errors import InputError
from vqvae.training.checkpoint import (
    BEST,
    LAST,
    PREVIOUS,
    load,
    load_model,
    save,
)
from vqvae.training.loop import fit


def test_a_checkpoint_has_nothing_that_must_be_unpickled(trained: Path) -> None:
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
def test_a_file_that_is_not_a_checkpoint_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / LAST).write_bytes(content)

    with pytest.raises(InputError, match=r"last.pt: not a checkpoint of this program"):
        load(tmp_path / LAST)


def test_a_checkpoint_that_would_run_code_is_refused(tmp_path: Path) -> None:
    torch.save({"config": os.system}, tmp_path / LAST)

    with pytest.raises(InputError, match="not a checkpoint"):
        load(tmp_path / LAST)


def test_a_path_below_a_file_is_not_a_checkpoint(tmp_path: Path) -> None:
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


def test_a_checkpoint_of_an_older_version_is_refused_and_kept(
    trained: Path, config: Config
) -> None:
    found = torch.load(trained / LAST, weights_only=True)
    del found["threads"], found["data"]
    torch.save(found, trained / LAST)
    before = (trained / LAST).read_bytes()

    with pytest.raises(InputError, match=r"last\.pt: not a checkpoint of this program"):
        list(fit(config, trained, threads=1))
    assert (trained / LAST).read_bytes() == before


def test_best_takes_no_second_copy(trained: Path) -> None:
    assert (trained / BEST).samefile(trained / LAST)
    assert sorted(path.name for path in trained.iterdir()) == [BEST, LAST]


def test_at_most_three_different_checkpoints_are_kept(trained: Path, tmp_path: Path) -> None:
    for epoch, best in ((1, 1), (2, 1), (3, 3), (4, 4), (5, 4), (6, 4)):
        save(checkpoint_of(trained, epoch, best), tmp_path / "one")
        assert len({file.stat().st_ino for file in (tmp_path / "one").iterdir()}) <= 3


def test_a_finished_training_keeps_last_and_best_alone(config: Config, tmp_path: Path) -> None:
    for row in fit(config, tmp_path, threads=1):
        assert (tmp_path / PREVIOUS).exists() == (row.epoch > 1)

    assert sorted(path.name for path in tmp_path.iterdir()) == [BEST, LAST]


def test_every_truncation_of_a_file_is_noticed(trained: Path, tmp_path: Path) -> None:
    content = (trained / LAST).read_bytes()
    for at in range(0, len(content), 997):
        (tmp_path / "cut").write_bytes(content[:at])
        with pytest.raises(InputError, match="not a checkpoint"):
            load(tmp_path / "cut")
