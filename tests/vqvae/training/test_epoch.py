from pathlib import Path
from typing import Any

import pytest
import torch

from tests.vqvae.conftest import tiny
from vqvae.config import Config, DataConfig, TrainingConfig
from vqvae.data.batches import open_images, split_batch
from vqvae.data.splits import open_split
from vqvae.model.vqvae import Losses
from vqvae.sweep import trainer
from vqvae.training.checkpoint import LAST, load
from vqvae.training.epoch import learning_rate, train_step
from vqvae.training.loop import fit
from vqvae.training.state import TrainingState, initial_state


def test_the_requested_threads_are_used_and_restored_afterwards(
    config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, inside = torch.get_num_threads(), []

    def record(*arguments: Any) -> Losses:
        inside.append(torch.get_num_threads())
        return train_step(*arguments)

    monkeypatch.setattr("vqvae.training.epoch.train_step", record)
    for _ in fit(config, tmp_path, threads=before + 1):
        assert torch.get_num_threads() == before

    assert set(inside) == {before + 1}
    assert load(tmp_path / LAST).threads == before + 1


def test_the_learning_rate_rises_then_falls_along_a_cosine() -> None:
    config = TrainingConfig(learning_rate=2.0, warmup=0.1)
    rates = [learning_rate(config, step, 100) for step in range(100)]

    assert rates[:10] == pytest.approx([0.2 * (step + 1) for step in range(10)])
    assert max(rates) == rates[9] == rates[10] == 2
    assert rates[55] == pytest.approx(2 * (0.01 + 0.99 / 2))
    assert rates[10:] == sorted(rates[10:], reverse=True)
    assert 0.02 <= rates[-1] < 0.03


def test_a_constant_rate_does_not_change() -> None:
    config = TrainingConfig(learning_rate=0.5, schedule="constant", warmup=0)

    assert {learning_rate(config, step, 10) for step in range(10)} == {0.5}


def step(
    config: Config, accumulation_steps: int
) -> tuple[TrainingState, Losses, list[torch.Tensor]]:
    """Do one step on a batch of five; return the state, the losses and the gradients."""
    split = open_split(config.data, "train")
    images = open_images(split, torch.device("cpu"), torch.channels_last)
    state = initial_state(config, torch.device("cpu"), images)
    state.model.quantizer.idle.fill_(1)  # a code that this batch does not choose is replaced
    losses = train_step(state, images.select(0, torch.arange(5)), 1e-2, accumulation_steps)
    return state, losses, [p.grad for p in state.model.parameters()]


@pytest.mark.parametrize("accumulation_steps", [2, 4, 8])
@pytest.mark.parametrize("codebook", ["ema", "gradient"])
def test_a_step_in_micro_batches_is_the_step_of_the_whole_batch(
    data: DataConfig, codebook: str, accumulation_steps: int
) -> None:
    config = tiny(data, codebook=codebook, optimizer="sgd", batch_size=5)
    whole, losses, gradients = step(config, 1)
    again, merged, found = step(config, accumulation_steps)

    close = {"rtol": 1e-4, "atol": 1e-7}
    for one, other in zip(gradients, found, strict=True):
        torch.testing.assert_close(other, one, **close)
    for name in ("total", "reconstruction", "codebook", "commitment", "images", "encoded"):
        torch.testing.assert_close(getattr(merged, name), getattr(losses, name), **close)
    assert torch.equal(merged.indices, losses.indices)
    for name, value in whole.model.state_dict().items():
        torch.testing.assert_close(again.model.state_dict()[name], value, rtol=1e-4, atol=1e-6)
    assert torch.equal(again.model.quantizer.idle, whole.model.quantizer.idle)
    assert torch.equal(again.generator.get_state(), whole.generator.get_state())
    assert again.step == whole.step == 1


def test_a_batch_is_split_until_a_micro_batch_is_one_image(data: DataConfig) -> None:
    for size, most in ((1, 1), (2, 2), (3, 4), (5, 8), (64, 64)):
        config = tiny(data, batch_size=size)
        assert trainer.max_accumulation_steps(config) == most
        assert {len(some) for some in split_batch(torch.zeros(size), most)} == {1}
