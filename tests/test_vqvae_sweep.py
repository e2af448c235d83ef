"""The VQ-VAE trainer in a sweep: tests that need both packages."""

import itertools
from pathlib import Path

import pytest
import torch

from sweeps.config.cluster import Cluster
from sweeps.config.resolve import read_experiment
from sweeps.storage.paths import RunsPaths
from sweeps.storage.sweep import Plan, Sweep, clear_stop, create_or_update, stop_reason
from sweeps.storage.trial_record import read_curve, read_result, read_spec
from sweeps.workers.exit_codes import ExitCode
from sweeps.workers.retry import RetryPlan, retry_plan_of
from tests.sweeps.conftest import worker_of
from tests.sweeps.workers.test_crashes import crash
from vqvae.model.vqvae import VQVAE, Losses

EXPERIMENT = """
name = "small"
trainer = "vqvae.sweep:trainer"
trials = 2
[trial.data]
root = "{root}"
cache = "{cache}"
[trial.data.phantom]
train_patients = 2
validate_patients = 1
test_patients = 1
volumes = 1
slices = 4
height = 64
width = 32
[trial.model]
width = 8
residual_width = 4
residual_blocks = 1
code_dimension = 4
[trial.training]
epochs = 3
[space]
"training.optimizer" = ["adam", "sgd"]
"training.learning_rate" = {{ low = 1e-3, high = 1e-2, log = true }}
"training.batch_size" = [2, 4]
"model.codebook_size" = [8, 16]
"""

METRICS = {
    "train/loss",
    "train/reconstruction_loss",
    "train/codebook_loss",
    "train/commitment_loss",
    "train/perplexity",
    "train/images_per_second",
    "val/loss",
    "val/reconstruction_loss",
    "val/ssim",
    "val/psnr",
    "val/perplexity",
    "val/codebook_usage",
}


def make(tmp_path: Path, runs: str, *, phantom: bool = True) -> Sweep:
    path = tmp_path / "small.toml"
    text = EXPERIMENT.format(root=tmp_path / "data", cache=tmp_path / "cache")
    path.write_text(text if phantom else without_phantom(text))
    resolved = read_experiment(path)
    fingerprint = resolved.trainer.prepare(resolved.corner_configs())
    paths = RunsPaths(tmp_path / runs).sweep("small")
    plan = Plan(resolved.experiment, Cluster(), fingerprint)
    return create_or_update(paths, resolved, path, plan)


def without_phantom(text: str) -> str:
    head, _, rest = text.partition("[trial.data.phantom]")
    return head + "[trial.model]" + rest.partition("[trial.model]")[2]


def curves(sweep: Sweep) -> list[list[dict[str, float]]]:
    """The metrics of every epoch of every trial, without the speed."""
    return [
        [
            {name: value for name, value in row.metrics.items() if "per_second" not in name}
            for row in read_curve(trial)
        ]
        for trial in sweep.paths.trials()
    ]


@pytest.mark.parametrize("step", ["between checkpoint and row", "between row and report"])
def test_a_killed_worker_changes_no_bit(tmp_path: Path, step: str) -> None:
    uninterrupted, interrupted = make(tmp_path, "uninterrupted"), make(tmp_path, "interrupted")
    worker_of(uninterrupted).run()
    crash(interrupted, step, 2)
    worker_of(interrupted).run()
    assert len(interrupted.paths.trials()[0].attempts()) == 2
    assert curves(interrupted) == curves(uninterrupted)
    for trial in interrupted.paths.trials():
        assert read_result(trial).state == "complete"
        assert all(row.metrics.keys() == METRICS for row in read_curve(trial))
        assert trial.attempts()[-1].figure.stat().st_size > 1000


def test_a_batch_that_does_not_fit_into_memory_is_trained_in_micro_batches(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From some step on, the device has memory for one image, but not for two."""
    whole, short = make(tmp_path, "whole"), make(tmp_path, "short")
    worker_of(whole).run()
    losses, calls = VQVAE.losses, itertools.count()

    def refuse(model: VQVAE, images: torch.Tensor) -> Losses:
        if next(calls) > 10 and len(images) > 1:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
        return losses(model, images)

    monkeypatch.setattr(VQVAE, "losses", refuse)
    while (end := worker_of(short).run()) is not ExitCode.DONE:  # in reality each is a new process
        assert end is ExitCode.OUT_OF_MEMORY
    for trial, found, expected in zip(
        short.paths.trials(), curves(short), curves(whole), strict=True
    ):
        size = read_spec(trial).config["training"]["batch_size"]
        assert retry_plan_of(trial) == RetryPlan(exclusive=True, accumulation_steps=size)
        assert [row["val/loss"] for row in found] == pytest.approx(
            [row["val/loss"] for row in expected], rel=0.05
        )


def test_unavailable_data_cost_no_trial_and_no_epoch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sweeps.workers.trial.RETRY_WAIT_SECONDS", 0.01)
    uninterrupted = make(tmp_path, "uninterrupted")
    worker_of(uninterrupted).run()
    interrupted = make(tmp_path, "interrupted", phantom=False)
    crash(interrupted, "between row and report", 2)
    data, away = tmp_path / "data", tmp_path / "away"
    data.rename(away)
    worker_of(interrupted).run()
    (trial,) = interrupted.paths.trials()
    assert not trial.settled.exists()
    assert f"data folder {data} does not exist" in stop_reason(interrupted.paths)
    away.rename(data)
    clear_stop(interrupted.paths)
    worker_of(interrupted).run()
    assert curves(interrupted) == curves(uninterrupted)
    assert {read_result(trial).state for trial in interrupted.paths.trials()} == {"complete"}


def test_bad_data_are_refused_before_any_job(tmp_path: Path) -> None:
    path = tmp_path / "small.toml"
    text = EXPERIMENT.format(root=tmp_path / "nothing", cache=tmp_path / "cache")
    path.write_text(without_phantom(text))
    resolved = read_experiment(path)
    with pytest.raises(ValueError, match="nothing"):
        resolved.trainer.prepare(resolved.corner_configs())
    path.write_text(text.replace("[2, 4]", "[2, 400]"))
    resolved = read_experiment(path)
    with pytest.raises(ValueError, match="400"):
        resolved.trainer.prepare(resolved.corner_configs())
