"""Tests that need a GPU. `pytest -m gpu` runs them; without a GPU they are skipped."""

import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from itertools import islice
from pathlib import Path

import pytest
import torch

from tests.vqvae.conftest import tiny
from vqvae.config import Config, DataConfig, ModelConfig, TrainingConfig
from vqvae.data.batches import open_images
from vqvae.data.splits import open_split
from vqvae.device import autocast, full_precision, reproducible
from vqvae.evaluation.evaluate import evaluate
from vqvae.evaluation.metrics import ssim
from vqvae.export.package import open_package
from vqvae.model.quantizer import nearest_codes
from vqvae.model.vqvae import VQVAE
from vqvae.sweep import trainer
from vqvae.training.checkpoint import LAST, load
from vqvae.training.epoch import EpochSums, train_epoch, train_step
from vqvae.training.error_kinds import classify_error
from vqvae.training.loop import fit
from vqvae.training.state import initial_state, restore_state

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(
        not torch.cuda.is_available(), reason="torch finds no CUDA device on this host"
    ),
]

CUDA = torch.device("cuda")
MIB = 2**20


@pytest.fixture
def model() -> VQVAE:
    model = VQVAE(ModelConfig(width=16, residual_width=8, codebook_size=32, code_dimension=8))
    model.quantizer.codebook.vectors.normal_()
    return model


def test_losses_agree_with_those_of_the_cpu(model: VQVAE) -> None:
    images = torch.rand(4, 1, 64, 48)

    with full_precision():
        on_cpu, on_gpu = model.losses(images), model.to(CUDA).losses(images.to(CUDA))

    for name in ("total", "reconstruction", "codebook", "commitment"):
        torch.testing.assert_close(
            getattr(on_gpu, name).cpu(), getattr(on_cpu, name), rtol=1e-3, atol=1e-5
        )
    assert (on_gpu.indices.cpu() == on_cpu.indices).double().mean() > 0.99


def test_the_quantizer_computes_in_float32_under_autocast(model: VQVAE) -> None:
    model, images = model.to(CUDA), torch.rand(2, 1, 64, 48, device=CUDA)

    with autocast(CUDA, TrainingConfig(precision="bfloat16")):
        encoded = model.to_vectors(images)
        quantized = model.quantizer(encoded)

    assert encoded.dtype == torch.bfloat16
    assert quantized.values.dtype == torch.float32
    assert quantized.commitment_loss.dtype == torch.float32


def test_scores_agree_with_those_of_the_cpu(model: VQVAE, data: DataConfig) -> None:
    config = tiny(data)

    on_cpu = evaluate(model, config.data, "validate")
    on_gpu = evaluate(model.to(CUDA), config.data, "validate")

    assert on_gpu.scores == pytest.approx(on_cpu.scores, rel=1e-3, abs=1e-3)
    for case, scores in on_gpu.patients.items():
        assert scores["ssim"] == pytest.approx(on_cpu.patients[case]["ssim"], abs=1e-3)


def test_ssim_is_not_rounded_to_tf32() -> None:
    images = torch.rand(4, 1, 64, 48)
    made = (images + 0.05 * torch.randn_like(images)).clamp(0, 1)

    with full_precision():
        found = ssim(images.to(CUDA), made.to(CUDA))

    # With TF32 the variances, differences of nearly equal numbers, are off by about 1e-3.
    torch.testing.assert_close(found.cpu(), ssim(images, made), rtol=0, atol=1e-5)


@pytest.mark.filterwarnings("ignore:Synchronization debug mode")
@pytest.mark.parametrize("resident", [True, False], ids=["resident", "from-host"])
@pytest.mark.parametrize("steps", [1, 2])
def test_no_step_waits_for_the_device(data: DataConfig, resident: bool, steps: int) -> None:
    images = open_images(open_split(data, "train"), CUDA, torch.contiguous_format)
    images = images if resident else replace(images, resident=None)
    config = tiny(data, device="cuda")
    with reproducible(1):
        state = initial_state(config, CUDA, images)
        sums = EpochSums(state)
        # Kernels are compiled and chosen in this epoch, which waits for the device.
        train_epoch(state, images, epoch=1, accumulation_steps=steps)

        torch.cuda.set_sync_debug_mode("error")
        try:
            for batch in images.shuffled(config.training.batch_size, seed=0, epoch=2):
                sums.add(batch, train_step(state, batch, 1e-3, steps))
        finally:
            torch.cuda.set_sync_debug_mode("default")

    assert sums.images == len(images)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"precision": "bfloat16"},
        {"codebook": "gradient"},
        {"codebook": "gradient", "optimizer": "sgd", "learning_rate": 0.05},
    ],
    ids=["float32", "bfloat16", "gradient", "sgd-gradient"],
)
def test_a_resumed_run_ends_close_to_an_uninterrupted_one(
    data: DataConfig, tmp_path: Path, changes: dict[str, object]
) -> None:
    config = tiny(data, device="cuda", dead_code_threshold_steps=0, **changes)
    whole = list(fit(config, tmp_path / "whole", threads=1))
    first = list(islice(fit(config, tmp_path / "cut", threads=1), 1))

    rest = list(fit(config, tmp_path / "cut", threads=1))

    assert rest[0] == first[0]
    assert [row.epoch for row in rest] == [1, 2, 3]
    # Sums over codes are taken in no fixed order on a GPU, so the results are close, not equal.
    assert rest[-1].metrics["val/loss"] == pytest.approx(whole[-1].metrics["val/loss"], rel=0.1)


@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
def test_the_restored_state_is_the_saved_state(
    data: DataConfig, tmp_path: Path, optimizer: str
) -> None:
    config = tiny(data, device="cuda", optimizer=optimizer)
    list(islice(fit(config, tmp_path, threads=1), 1))
    saved = load(tmp_path / LAST)

    state = restore_state(saved, tmp_path / LAST, config, CUDA)

    for name, value in state.model.state_dict().items():
        assert value.device.type == CUDA.type, name
        assert torch.equal(value.cpu(), saved.model[name]), name
    for key, entries in state.optimizer.state_dict()["state"].items():
        for name, value in entries.items():
            assert torch.equal(value.cpu(), saved.optimizer["state"][key][name]), (key, name)
    assert torch.equal(state.generator.get_state(), saved.random)


def test_a_model_from_a_gpu_gets_a_figure_a_package_and_scores(
    data: DataConfig, tmp_path: Path
) -> None:
    config = tiny(data, device="cuda", epochs=1)
    list(fit(config, tmp_path, threads=1))

    trainer.write_figure(config, tmp_path, tmp_path / "figure.png")
    trainer.export(config, tmp_path, tmp_path / "package")
    found = trainer.evaluate(config, tmp_path / "package", tmp_path / "scored")

    assert (tmp_path / "figure.png").stat().st_size > 0
    assert -1 <= found.scores["test/ssim"] <= 1
    made = open_package(tmp_path / "package").reconstruct(torch.rand(2, 1, 33, 27))
    assert made.device.type == "cpu"
    assert made.shape == (2, 1, 33, 27)


def test_a_package_moves_to_a_gpu(package: Path) -> None:
    images = torch.rand(2, 1, 33, 27)
    on_cpu, on_gpu = open_package(package), open_package(package, CUDA)

    with full_precision():
        codes = on_gpu.encode(images.to(CUDA))
        made = on_gpu.reconstruct(images.to(CUDA))

    assert codes.device.type == made.device.type == "cuda"
    assert (codes.cpu() == on_cpu.encode(images)).double().mean() > 0.99
    torch.testing.assert_close(on_gpu.decode(codes, 33, 27), made)
    expected = on_cpu.decode(codes.cpu(), 33, 27)
    torch.testing.assert_close(made.cpu(), expected, rtol=0, atol=1e-4)


def test_a_checkpoint_of_a_gpu_loads_without_one(data: DataConfig, tmp_path: Path) -> None:
    list(islice(fit(tiny(data, device="cuda"), tmp_path, threads=1), 1))

    assert {value.device.type for value in load(tmp_path / LAST).model.values()} == {"cpu"}
    rows = list(fit(tiny(data, device="cpu"), tmp_path, threads=1))
    assert rows[-1].epoch == 3


def test_a_step_in_micro_batches_takes_less_memory_and_gives_the_same_loss(
    data: DataConfig,
) -> None:
    source = open_images(open_split(data, "train"), CUDA, torch.contiguous_format)
    images = torch.rand(16, 1, 256, 128, device=CUDA)
    config = tiny(data, device="cuda", width=64, optimizer="sgd", dead_code_threshold_steps=0)
    peaks, losses = [], []
    for steps in (1, 4):
        with reproducible(1):
            state = initial_state(config, CUDA, source)
            torch.cuda.synchronize()
            before = torch.cuda.memory_allocated()
            torch.cuda.reset_peak_memory_stats()
            losses.append(train_step(state, images, 1e-3, steps).total.item())
            peaks.append(torch.cuda.max_memory_allocated() - before)

    assert peaks[1] < 0.6 * peaks[0]
    assert losses[1] == pytest.approx(losses[0], rel=1e-3)


def test_out_of_memory_on_a_gpu_is_classified() -> None:
    with pytest.raises(torch.OutOfMemoryError) as refused:
        torch.empty(2**50, dtype=torch.uint8, device=CUDA)

    assert classify_error(refused.value) == "out_of_memory"
    assert torch.ones(2, device=CUDA).sum().item() == 2  # CUDA still works in this process


def test_a_failed_assertion_on_the_device_is_classified_as_a_lost_process() -> None:
    """It needs a process of its own, because CUDA is unusable there afterwards."""
    code = """
import torch
from vqvae.training.error_kinds import classify_error

def show_kind(work):
    try:
        work()
    except Exception as error:
        print(classify_error(error))

def fail():
    torch.zeros(4, device="cuda")[torch.tensor([9], device="cuda")]
    torch.cuda.synchronize()

show_kind(fail)
show_kind(lambda: torch.ones(2, device="cuda").sum().item())
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)

    assert done.stdout == "process_lost\nprocess_lost\n", done.stderr


def test_the_memory_for_finding_codes_does_not_grow_as_vectors_times_codes() -> None:
    vectors = torch.randn(2**17, 16, device=CUDA)
    codebook = torch.randn(4096, 16, device=CUDA)
    torch.cuda.synchronize()
    before = torch.cuda.memory_allocated()
    torch.cuda.reset_peak_memory_stats()

    nearest_codes(vectors, codebook)

    # All distances at once would be 2 GiB.
    assert torch.cuda.max_memory_allocated() - before < 100 * MIB


def test_images_stay_on_the_device(data: DataConfig) -> None:
    split = open_split(data, "train")

    images = open_images(split, CUDA, torch.contiguous_format)

    assert images.resident is not None
    assert all(group.is_cuda for group in images.resident)
    on_host = open_images(split, torch.device("cpu"), torch.contiguous_format)
    for on_gpu, on_cpu in zip(images.in_order(5), on_host.in_order(5), strict=True):
        torch.testing.assert_close(on_gpu.cpu(), on_cpu)


def test_how_long_a_step_takes_is_printed(
    data: DataConfig, capsys: pytest.CaptureFixture[str]
) -> None:
    """Measure the default model at HipMRI's image size, for docs/gpu.md."""
    images = torch.rand(32, 1, 256, 128, device=CUDA)
    source = open_images(open_split(data, "train"), CUDA, torch.contiguous_format)
    for precision in ("float32", "bfloat16"):
        config = Config(data=data, training=TrainingConfig(precision=precision))
        for layout in (torch.contiguous_format, torch.channels_last):
            with reproducible(1):
                state = initial_state(config, CUDA, source)
                state.model.to(memory_format=layout)  # type: ignore[call-overload]
                batch = images.contiguous(memory_format=layout)
                seconds = seconds_of(
                    lambda state=state, batch=batch: train_step(state, batch, 1e-4)
                )
            assert seconds > 0
            with capsys.disabled():
                print(f"\n{precision}, {layout}: {len(images) / seconds:.0f} slices a second")


def seconds_of(work: Callable[[], object], times: int = 20) -> float:
    """The seconds that `work` takes, once kernels are compiled and chosen."""
    for _ in range(5):
        work()
    torch.cuda.synchronize()
    started = time.perf_counter()
    for _ in range(times):
        work()
    torch.cuda.synchronize()
    return (time.perf_counter() - started) / times
