"""What only a GPU can show. `pytest -m gpu` runs these; elsewhere each says why it does not."""

from itertools import islice
from pathlib import Path

import pytest
import torch

from tests.vqvae.conftest import tiny
from vqvae.batches import open_images
from vqvae.checkpoint import LAST, load
from vqvae.config import ModelConfig, TrainingConfig
from vqvae.data.config import DataConfig
from vqvae.data.splits import open_split
from vqvae.device import autocast
from vqvae.model import VQVAE
from vqvae.quantizer import nearest
from vqvae.training import fit

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="torch sees no CUDA device here"),
]

CUDA = torch.device("cuda")
MIB = 2**20


@pytest.fixture
def model() -> VQVAE:
    made = VQVAE(ModelConfig(width=16, residual_width=8, codebook_size=32, code_dimension=8))
    made.quantizer.codebook.vectors.normal_()
    return made


def test_losses_agree_with_those_of_the_cpu(model: VQVAE) -> None:
    images = torch.rand(4, 1, 64, 48)

    with torch.backends.cudnn.flags(allow_tf32=False):
        here, there = model.losses(images), model.to(CUDA).losses(images.to(CUDA))

    for name in ("total", "reconstruction", "codebook", "commitment"):
        torch.testing.assert_close(
            getattr(there, name).cpu(), getattr(here, name), rtol=1e-3, atol=1e-5
        )
    assert (there.indices.cpu() == here.indices).double().mean() > 0.99


def test_half_precision_stops_before_the_quantizer(model: VQVAE) -> None:
    model, images = model.to(CUDA), torch.rand(2, 1, 64, 48, device=CUDA)

    with autocast(CUDA, TrainingConfig(precision="bfloat16")):
        encoded = model.encode(images)
        quantized = model.quantizer(encoded)

    assert encoded.dtype == torch.bfloat16
    assert quantized.values.dtype == torch.float32
    assert quantized.commitment_loss.dtype == torch.float32


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_a_resumed_run_ends_close_to_an_uninterrupted_one(
    data: DataConfig, tmp_path: Path, precision: str
) -> None:
    config = tiny(data, device="cuda", precision=precision, revive_after=0)
    whole = list(fit(config, tmp_path / "whole", threads=1))
    first = list(islice(fit(config, tmp_path / "cut", threads=1), 1))

    rest = list(fit(config, tmp_path / "cut", threads=1))

    assert rest[0] == first[0]
    assert [row.epoch for row in rest] == [1, 2, 3]
    # Sums over codes are taken in the order in which they come, so close is all there can be.
    assert rest[-1].metrics["val/loss"] == pytest.approx(whole[-1].metrics["val/loss"], rel=0.1)


def test_a_checkpoint_of_a_gpu_loads_without_one(data: DataConfig, tmp_path: Path) -> None:
    list(islice(fit(tiny(data, device="cuda"), tmp_path, threads=1), 1))

    assert {value.device.type for value in load(tmp_path / LAST).model.values()} == {"cpu"}
    rows = list(fit(tiny(data, device="cpu"), tmp_path, threads=1))
    assert rows[-1].epoch == 3


def test_finding_codes_takes_no_memory_that_grows_with_vectors_times_codes() -> None:
    vectors = torch.randn(2**17, 16, device=CUDA)
    codebook = torch.randn(4096, 16, device=CUDA)
    torch.cuda.synchronize()
    before = torch.cuda.memory_allocated()
    torch.cuda.reset_peak_memory_stats()

    nearest(vectors, codebook)

    # All distances at once would be 2 GiB.
    assert torch.cuda.max_memory_allocated() - before < 100 * MIB


def test_images_stay_on_the_device(data: DataConfig) -> None:
    split = open_split(data, "train")

    images = open_images(split, CUDA, torch.contiguous_format)

    assert images.resident is not None
    assert all(group.is_cuda for group in images.resident)
    on_host = open_images(split, torch.device("cpu"), torch.contiguous_format)
    for there, here in zip(images.in_order(5), on_host.in_order(5), strict=True):
        torch.testing.assert_close(there.cpu(), here)
