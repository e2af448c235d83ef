import math
import shutil
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.vqvae.conftest import tiny
from vqvae.config import Config, TrainingConfig
from vqvae.data.batches import open_images, split_batch
from vqvae.data.config import DataConfig
from vqvae.data.splits import open_split
from vqvae.errors import InputError
from vqvae.evaluation.evaluate import evaluate
from vqvae.model.vqvae import VQVAE, Losses
from vqvae.sweep import trainer
from vqvae.training.checkpoint import BEST, LAST, Epoch, load, load_model
from vqvae.training.loop import better_epoch, divergence_reason, fit, learning_rate, train_step
from vqvae.training.state import TrainingState, initial_state

NAMES = {
    *("train/loss", "train/reconstruction_loss", "train/codebook_loss", "train/commitment_loss"),
    *("train/perplexity", "train/images_per_second", "val/loss", "val/reconstruction_loss"),
    *("val/ssim", "val/psnr", "val/perplexity", "val/codebook_usage"),
}

FINE = {
    "train/loss": 1.0,
    "val/loss": 1.0,
    "val/reconstruction_loss": 1.0,
    "val/perplexity": 5.0,
}
"""Figures of an epoch that nothing is wrong with."""


def train(
    config: Config, folder: Path, upto: int | None = None, threads: int = 1, **rest: Any
) -> list[Epoch]:
    return list(islice(fit(config, folder, threads=threads, **rest), upto))


def lasting(row: Epoch) -> dict[str, float]:
    """What must not differ between two runs: all but the clock's figures."""
    return {k: v for k, v in row.metrics.items() if k != "train/images_per_second"}


def assert_same_state(one: Path, other: Path) -> None:
    first, second = load(one), load(other)
    assert first.step == second.step
    assert first.best == second.best
    assert torch.equal(first.random, second.random)
    assert first.model.keys() == second.model.keys()
    for name, value in first.model.items():
        assert torch.equal(value, second.model[name]), name
    states = [checkpoint.optimizer["state"] for checkpoint in (first, second)]
    for key, entries in states[0].items():
        for name, value in entries.items():
            assert torch.equal(value, states[1][key][name]), (key, name)


def test_every_epoch_is_measured_under_the_promised_names(config: Config, tmp_path: Path) -> None:
    rows = train(config, tmp_path)

    assert [row.epoch for row in rows] == [1, 2, 3]
    for row in rows:
        assert set(row.metrics) == NAMES
        assert row.diverged is None
        terms = ("reconstruction_loss", "commitment_loss")
        total = sum(row.metrics[f"train/{term}"] for term in terms)
        assert row.metrics["train/loss"] == pytest.approx(total)
        assert row.seconds > 0
    assert rows[-1].metrics["val/loss"] < rows[0].metrics["val/loss"]


def test_a_row_is_on_disk_before_it_is_handed_out(config: Config, tmp_path: Path) -> None:
    for row in fit(config, tmp_path, threads=1):
        assert load(tmp_path / LAST).row == row


@pytest.mark.parametrize(
    ("changes", "threads"),
    [
        ({}, 1),
        ({"reconstruction_loss": "l1", "codebook": "gradient"}, 1),
        ({"codebook": "gradient", "optimizer": "sgd", "learning_rate": 0.05}, 2),
    ],
    ids=["adam-ema", "adam-gradient-l1", "sgd-gradient-2-threads"],
)
@pytest.mark.parametrize("elsewhere", [False, True], ids=["same-folder", "new-folder"])
def test_resumed_equals_uninterrupted_bit_for_bit(
    data: DataConfig, tmp_path: Path, changes: dict[str, object], threads: int, elsewhere: bool
) -> None:
    config = tiny(data, epochs=4, **changes)
    whole = train(config, tmp_path / "whole", threads=threads)
    folder, earlier = tmp_path / "cut-1", []
    assert train(config, folder, threads=threads, should_stop=lambda: True) == []
    previous = train(config, folder, upto=1, threads=threads)

    for at in (2, 3, 4):
        if elsewhere:
            folder, earlier = tmp_path / f"cut-{at}", [folder]
        found = train(config, folder, upto=2, continue_from=earlier, threads=threads)
        assert found[0] == previous[-1]
        previous = found
        assert lasting(found[1]) == lasting(whole[at - 1])

    assert_same_state(tmp_path / "whole" / LAST, folder / LAST)
    assert_same_state(tmp_path / "whole" / BEST, folder / BEST)


def test_the_best_checkpoint_is_carried_over(config: Config, tmp_path: Path) -> None:
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


def test_best_is_the_epoch_with_the_highest_ssim(config: Config, tmp_path: Path) -> None:
    rows = train(config, tmp_path)

    expected = max(rows, key=lambda row: row.metrics["val/ssim"])
    assert load(tmp_path / BEST).row == expected
    assert load(tmp_path / LAST).best.epoch == expected.epoch


def test_a_finished_run_hands_out_its_last_row_and_ends(config: Config, tmp_path: Path) -> None:
    rows = train(config, tmp_path)

    assert train(config, tmp_path) == rows[-1:]


def test_it_stops_before_an_epoch_when_told(config: Config, tmp_path: Path) -> None:
    answers = iter([False, True])

    rows = train(config, tmp_path, should_stop=lambda: next(answers))

    assert [row.epoch for row in rows] == [1]


def test_a_loss_that_is_no_number_ends_the_run_with_a_reason(
    data: DataConfig, tmp_path: Path
) -> None:
    config = tiny(data, optimizer="sgd", learning_rate=1e30)

    rows = train(config, tmp_path)

    assert rows[-1].diverged is not None
    assert len(rows) == 1
    assert all(math.isfinite(value) for value in rows[-1].metrics.values())
    assert train(config, tmp_path) == rows[-1:]


def test_a_collapsed_codebook_ends_the_run_but_not_in_the_first_epoch() -> None:
    metrics = FINE | {"val/perplexity": 1.2}

    assert divergence_reason(metrics, epoch=1, codes=16) is None
    assert "codebook collapsed: val/perplexity 1.20" in divergence_reason(
        metrics, epoch=2, codes=16
    )
    assert divergence_reason(metrics | {"val/perplexity": 1.6}, epoch=2, codes=16) is None
    assert "val/loss is nan" in divergence_reason(
        metrics | {"val/loss": math.nan}, epoch=1, codes=16
    )


def test_a_loss_that_exploded_ends_the_run_at_once() -> None:
    high = {**FINE, "train/loss": 1e3, "val/reconstruction_loss": 99.0}

    assert divergence_reason(high, epoch=1, codes=16) is None  # it may have come down meanwhile
    said = divergence_reason(high | {"val/reconstruction_loss": 1234.5}, epoch=1, codes=16)
    assert "exploded: val/reconstruction_loss is 1234 in epoch 1" in said


def test_a_training_that_explodes_is_told_so(data: DataConfig, tmp_path: Path) -> None:
    config = tiny(data, optimizer="sgd", learning_rate=200.0, schedule="constant")

    rows = train(config, tmp_path)

    assert rows[-1].diverged is not None
    assert rows[-1].epoch < 3


def test_two_codes_unevenly_used_have_not_collapsed() -> None:
    metrics = FINE | {"val/perplexity": 1.4}

    assert divergence_reason(metrics, epoch=2, codes=2) is None
    assert divergence_reason(metrics | {"val/perplexity": 1.05}, epoch=2, codes=2) is not None


def test_a_diverged_epoch_is_never_the_best() -> None:
    row = Epoch(2, {"val/ssim": 0.9}, 0, 0.0, diverged="for a reason")

    assert better_epoch(None, row, "val/ssim", maximize=True) is None


@pytest.mark.parametrize(("maximize", "expected"), [(True, 2), (False, 4)])
def test_of_equal_epochs_the_earlier_is_the_best(maximize: bool, expected: int) -> None:
    best = None

    for epoch, value in enumerate([0.5, 0.7, 0.7, 0.2, 0.2], 1):
        best = better_epoch(best, Epoch(epoch, {"x": value}, 0, 0.0), "x", maximize=maximize)

    assert best.epoch == expected


@pytest.mark.parametrize(("metric", "maximize"), [("val/loss", False), ("val/psnr", True)])
def test_best_follows_the_metric_that_is_asked_for(
    data: DataConfig, tmp_path: Path, metric: str, maximize: bool
) -> None:
    config, asked = tiny(data, epochs=4), {"metric": metric, "maximize": maximize}
    rows = train(config, tmp_path / "whole", **asked)
    train(config, tmp_path / "cut", upto=2, **asked)
    train(config, tmp_path / "cut", **asked)

    expected = (max if maximize else min)(rows, key=lambda row: row.metrics[metric])
    assert load(tmp_path / "whole" / BEST).row == expected
    assert load(tmp_path / "cut" / BEST).row.epoch == expected.epoch
    assert_same_state(tmp_path / "whole" / LAST, tmp_path / "cut" / LAST)


def test_a_best_epoch_by_another_metric_is_not_gone_on_from(config: Config, tmp_path: Path) -> None:
    train(config, tmp_path, upto=1)

    with pytest.raises(InputError, match=r"best.pt was chosen by val/ssim, not val/loss"):
        train(config, tmp_path, metric="val/loss", maximize=False)


def test_another_configuration_is_refused(config: Config, data: DataConfig, tmp_path: Path) -> None:
    train(config, tmp_path, upto=1)

    with pytest.raises(InputError, match=r"model.width = 8, not 16"):
        train(tiny(data, width=16), tmp_path)


def test_a_device_that_is_not_there_is_refused(data: DataConfig, tmp_path: Path) -> None:
    if torch.cuda.is_available():
        pytest.skip("this machine has a CUDA device")
    with pytest.raises(InputError, match="no CUDA device"):
        train(tiny(data, device="cuda"), tmp_path)


def test_the_threads_asked_for_compute_and_are_given_back(
    config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, inside = torch.get_num_threads(), []

    def record(*arguments: Any) -> Losses:
        inside.append(torch.get_num_threads())
        return train_step(*arguments)

    monkeypatch.setattr("vqvae.training.loop.train_step", record)
    for _ in fit(config, tmp_path, threads=before + 1):
        assert torch.get_num_threads() == before

    assert set(inside) == {before + 1}
    assert load(tmp_path / LAST).threads == before + 1


def test_going_on_with_other_threads_is_said(
    config: Config, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    train(config, tmp_path, upto=1)

    list(fit(config, tmp_path, threads=2))

    assert "going on with 2 CPU threads after 1" in caplog.text


def test_other_data_are_refused_but_may_move(data: DataConfig, tmp_path: Path) -> None:
    shutil.copytree(data.root, tmp_path / "set")
    here = data.model_copy(update={"root": tmp_path / "set"})
    train(tiny(data), tmp_path / "run", upto=1)

    assert train(tiny(here), tmp_path / "run", upto=2)[-1].epoch == 2

    next((tmp_path / "set").rglob("case_005*slice_1*")).unlink()
    with pytest.raises(InputError, match=r"run: holds a run on other data than .*set has now"):
        train(tiny(here), tmp_path / "run")


def test_a_refused_continuation_leaves_the_new_folder_alone(
    config: Config, data: DataConfig, tmp_path: Path
) -> None:
    train(config, tmp_path / "one", upto=1)

    with pytest.raises(InputError, match=r"one: holds a run with model.width = 8, not 16"):
        train(tiny(data, width=16), tmp_path / "two", continue_from=[tmp_path / "one"])

    assert not (tmp_path / "two").exists()
    assert train(tiny(data, width=16), tmp_path / "two", upto=1)[0].epoch == 1


def test_validation_scores_as_evaluation_does_in_half_precision_too(
    data: DataConfig, tmp_path: Path
) -> None:
    config = tiny(data, precision="bfloat16")
    train(config, tmp_path)

    model, best = load_model(tmp_path)
    found = evaluate(model, config, "validate")
    assert found.scores["ssim"] == pytest.approx(best.row.metrics["val/ssim"], abs=1e-5)


def test_moving_the_folder_changes_nothing(config: Config, tmp_path: Path) -> None:
    whole = train(config, tmp_path / "whole")
    train(config, tmp_path / "here", upto=2)
    shutil.move(tmp_path / "here", tmp_path / "there")

    rows = train(config, tmp_path / "there")

    assert lasting(rows[-1]) == lasting(whole[-1])


def test_the_learning_rate_rises_then_falls_along_a_cosine() -> None:
    config = TrainingConfig(learning_rate=2.0, warmup=0.1)
    rates = [learning_rate(config, step, 100) for step in range(100)]

    assert rates[:10] == pytest.approx([0.2 * (step + 1) for step in range(10)])
    assert max(rates) == rates[9] == rates[10] == 2
    assert rates[55] == pytest.approx(2 * (0.01 + 0.99 / 2))
    assert rates[10:] == sorted(rates[10:], reverse=True)
    assert 0.02 <= rates[-1] < 0.03


def test_a_constant_rate_stays() -> None:
    config = TrainingConfig(learning_rate=0.5, schedule="constant", warmup=0)

    assert {learning_rate(config, step, 10) for step in range(10)} == {0.5}


def step(config: Config, parts: int) -> tuple[TrainingState, Losses, list[torch.Tensor]]:
    """One step on a batch of five, and the gradients it followed."""
    split = open_split(config.data, "train")
    images = open_images(split, torch.device("cpu"), torch.channels_last)
    run = initial_state(config, torch.device("cpu"), images)
    run.model.quantizer.idle.fill_(1)  # a code that this batch does not choose is revived
    losses = train_step(run, images.select(0, torch.arange(5)), 1e-2, parts)
    return run, losses, [p.grad for p in run.model.parameters()]


@pytest.mark.parametrize("parts", [2, 4, 8])
@pytest.mark.parametrize("codebook", ["ema", "gradient"])
def test_a_step_in_parts_is_the_step_of_the_whole_batch(
    data: DataConfig, codebook: str, parts: int
) -> None:
    config = tiny(data, codebook=codebook, optimizer="sgd", batch_size=5)
    whole, losses, gradients = step(config, 1)
    again, in_parts, found = step(config, parts)

    close = {"rtol": 1e-4, "atol": 1e-7}
    for one, other in zip(gradients, found, strict=True):
        torch.testing.assert_close(other, one, **close)
    for name in ("total", "reconstruction", "codebook", "commitment", "images", "encoded"):
        torch.testing.assert_close(getattr(in_parts, name), getattr(losses, name), **close)
    assert torch.equal(in_parts.indices, losses.indices)
    for name, value in whole.model.state_dict().items():
        torch.testing.assert_close(again.model.state_dict()[name], value, rtol=1e-4, atol=1e-6)
    assert torch.equal(again.model.quantizer.idle, whole.model.quantizer.idle)
    assert torch.equal(again.generator.get_state(), whole.generator.get_state())
    assert again.step == whole.step == 1


def test_no_more_than_a_part_is_computed_at_once(
    data: DataConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config, seen = tiny(data, batch_size=5, epochs=1), []
    encode = VQVAE.to_vectors

    def record(model: VQVAE, images: torch.Tensor) -> torch.Tensor:
        seen.append(len(images))
        return encode(model, images)

    monkeypatch.setattr(VQVAE, "to_vectors", record)
    train(config, tmp_path, accumulation_steps=4)

    assert max(seen) == 2


def test_a_training_goes_on_in_parts_from_where_it_stood(config: Config, tmp_path: Path) -> None:
    whole = train(config, tmp_path / "whole")
    first = train(config, tmp_path / "cut", upto=1)

    rest = train(config, tmp_path / "cut", accumulation_steps=2)

    assert rest[0] == first[0]
    for row, expected in zip(rest, whole, strict=True):
        for name in ("train/loss", "val/loss", "val/ssim"):
            assert row.metrics[name] == pytest.approx(expected.metrics[name], rel=0.02)


def test_a_batch_is_cut_until_a_part_is_one_image(data: DataConfig) -> None:
    for size, most in ((1, 1), (2, 2), (3, 4), (5, 8), (64, 64)):
        config = tiny(data, batch_size=size)
        assert trainer.max_accumulation_steps(config) == most
        assert {len(part) for part in split_batch(torch.zeros(size), most)} == {1}
