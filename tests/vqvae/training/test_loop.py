import math
from pathlib import Path

import pytest
import torch

from tests.vqvae.conftest import tiny
from tests.vqvae.training.conftest import repeatable_metrics, train
from vqvae.config import Config, DataConfig
from vqvae.errors import InputError
from vqvae.evaluation.evaluate import evaluate
from vqvae.model.vqvae import VQVAE
from vqvae.training.checkpoint import BEST, LAST, Epoch, Objective, load, load_model
from vqvae.training.loop import better_epoch, divergence_reason, fit

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
"""Metrics of a normal epoch."""


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


def test_every_epoch_has_the_documented_metrics(config: Config, tmp_path: Path) -> None:
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


def test_an_epoch_is_on_disk_before_it_is_yielded(config: Config, tmp_path: Path) -> None:
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
        assert repeatable_metrics(found[1]) == repeatable_metrics(whole[at - 1])

    assert_same_state(tmp_path / "whole" / LAST, folder / LAST)
    assert_same_state(tmp_path / "whole" / BEST, folder / BEST)


def test_best_is_the_epoch_with_the_highest_ssim(config: Config, tmp_path: Path) -> None:
    rows = train(config, tmp_path)

    expected = max(rows, key=lambda row: row.metrics["val/ssim"])
    assert load(tmp_path / BEST).row == expected
    assert load(tmp_path / LAST).best.epoch == expected.epoch


def test_a_finished_training_yields_its_last_epoch_and_ends(config: Config, tmp_path: Path) -> None:
    rows = train(config, tmp_path)

    assert train(config, tmp_path) == rows[-1:]


def test_a_training_stops_before_an_epoch_when_asked_to(config: Config, tmp_path: Path) -> None:
    answers = iter([False, True])

    rows = train(config, tmp_path, should_stop=lambda: next(answers))

    assert [row.epoch for row in rows] == [1]


def test_a_loss_that_is_not_finite_ends_the_training_with_a_reason(
    data: DataConfig, tmp_path: Path
) -> None:
    config = tiny(data, optimizer="sgd", learning_rate=1e30)

    rows = train(config, tmp_path)

    assert rows[-1].diverged is not None
    assert len(rows) == 1
    assert all(math.isfinite(value) for value in rows[-1].metrics.values())
    assert train(config, tmp_path) == rows[-1:]


def test_a_collapsed_codebook_ends_the_training_but_not_in_the_first_epoch() -> None:
    metrics = FINE | {"val/perplexity": 1.2}

    assert divergence_reason(metrics, epoch=1, codes=16) is None
    assert "codebook collapsed: val/perplexity 1.20" in divergence_reason(
        metrics, epoch=2, codes=16
    )
    assert divergence_reason(metrics | {"val/perplexity": 1.6}, epoch=2, codes=16) is None
    assert "val/loss is nan" in divergence_reason(
        metrics | {"val/loss": math.nan}, epoch=1, codes=16
    )


def test_a_loss_that_exploded_ends_the_training_at_once() -> None:
    high = {**FINE, "train/loss": 1e3, "val/reconstruction_loss": 99.0}

    assert (
        divergence_reason(high, epoch=1, codes=16) is None
    )  # a high mean may have fallen by the end
    message = divergence_reason(high | {"val/reconstruction_loss": 1234.5}, epoch=1, codes=16)
    assert "exploded: val/reconstruction_loss is 1234 in epoch 1" in message


def test_a_training_that_explodes_ends_early(data: DataConfig, tmp_path: Path) -> None:
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

    assert better_epoch(None, row, Objective()) is None


@pytest.mark.parametrize(("maximize", "expected"), [(True, 2), (False, 4)])
def test_of_equal_epochs_the_earlier_is_the_best(maximize: bool, expected: int) -> None:
    best, objective = None, Objective("x", maximize)

    for epoch, value in enumerate([0.5, 0.7, 0.7, 0.2, 0.2], 1):
        best = better_epoch(best, Epoch(epoch, {"x": value}, 0, 0.0), objective)

    assert best.epoch == expected


@pytest.mark.parametrize(("metric", "maximize"), [("val/loss", False), ("val/psnr", True)])
def test_best_follows_the_metric_of_the_objective(
    data: DataConfig, tmp_path: Path, metric: str, maximize: bool
) -> None:
    config, objective = tiny(data, epochs=4), Objective(metric, maximize)
    rows = train(config, tmp_path / "whole", objective=objective)
    train(config, tmp_path / "cut", upto=2, objective=objective)
    train(config, tmp_path / "cut", objective=objective)

    expected = (max if maximize else min)(rows, key=lambda row: row.metrics[metric])
    assert load(tmp_path / "whole" / BEST).row == expected
    assert load(tmp_path / "cut" / BEST).row.epoch == expected.epoch
    assert_same_state(tmp_path / "whole" / LAST, tmp_path / "cut" / LAST)


def test_a_missing_device_is_refused(data: DataConfig, tmp_path: Path) -> None:
    if torch.cuda.is_available():
        pytest.skip("this host has a CUDA device")
    with pytest.raises(InputError, match="no CUDA device"):
        train(tiny(data, device="cuda"), tmp_path)


def test_validation_of_a_bfloat16_training_scores_as_evaluation_does(
    data: DataConfig, tmp_path: Path
) -> None:
    config = tiny(data, precision="bfloat16")
    train(config, tmp_path)

    model, best = load_model(tmp_path)
    found = evaluate(model, config.data, "validate")
    assert found.scores["ssim"] == pytest.approx(best.row.metrics["val/ssim"], abs=1e-5)


def test_no_more_than_a_micro_batch_is_computed_at_once(
    data: DataConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config, sizes = tiny(data, batch_size=5, epochs=1), []
    encode = VQVAE.to_vectors

    def record(model: VQVAE, images: torch.Tensor) -> torch.Tensor:
        sizes.append(len(images))
        return encode(model, images)

    monkeypatch.setattr(VQVAE, "to_vectors", record)
    train(config, tmp_path, accumulation_steps=4)

    assert max(sizes) == 2


def test_a_training_can_resume_in_micro_batches(config: Config, tmp_path: Path) -> None:
    whole = train(config, tmp_path / "whole")
    first = train(config, tmp_path / "cut", upto=1)

    rest = train(config, tmp_path / "cut", accumulation_steps=2)

    assert rest[0] == first[0]
    for row, expected in zip(rest, whole, strict=True):
        for name in ("train/loss", "val/loss", "val/ssim"):
            assert row.metrics[name] == pytest.approx(expected.metrics[name], rel=0.02)
