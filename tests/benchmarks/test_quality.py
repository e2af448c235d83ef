"""The parts of `benchmarks.quality` that a figure depends on."""

import math

import numpy as np
import pytest
import torch

from benchmarks.quality.codecs import ImageCodec, available_codecs, compress, decompress
from benchmarks.quality.models import NETWORKS
from benchmarks.quality.networks import ClassicQuantizer
from benchmarks.quality.scores import Scores, score_model
from benchmarks.quality.table import Result, rows
from benchmarks.quality.training import Budget, train
from benchmarks.quality.vae import Vae
from vqvae.config import TrainingConfig
from vqvae.data.batches import Images

PACKAGES = {"vector-quantize-pytorch": "vector_quantize_pytorch", "fsq": "vector_quantize_pytorch"}
PACKAGES["monai"] = "monai"


def smooth_image() -> np.ndarray:
    rows_, columns = np.mgrid[0:64, 0:64] / 10
    return (127 * (1 + np.sin(rows_) * np.cos(columns))).astype(np.uint8)


@pytest.mark.parametrize("codec", available_codecs(), ids=lambda codec: codec.name)
@pytest.mark.parametrize("container", [True, False])
def test_a_file_is_the_largest_that_is_allowed(codec: ImageCodec, container: bool) -> None:
    image, limit = smooth_image(), 500
    content = compress(codec, image, limit, container=container)
    assert content is not None
    counted = [
        len(found) if container else codec.payload(found)
        for found in (codec.encode(image, setting) for setting in codec.settings[::40])
    ]
    size = len(content) if container else codec.payload(content)
    assert max((each for each in counted if each <= limit), default=0) <= size <= limit
    assert np.abs(decompress(content)[0, 0].numpy() * 255 - image).mean() < 40


def test_no_file_is_found_below_the_smallest() -> None:
    assert compress(available_codecs()[0], smooth_image(), 5, container=True) is None


def test_the_classic_quantizer_follows_its_definition() -> None:
    quantizer = ClassicQuantizer(codes=2, dimension=1, decay=0.5)
    quantizer.vectors.copy_(torch.tensor([[0.0], [10.0]]))
    quantizer.sums.copy_(torch.tensor([[0.0], [10.0]]))
    encoded = torch.tensor([1.0, 9.0, 9.0, 9.0]).reshape(1, 1, 2, 2)
    values, indices, commitment = quantizer.train()(encoded)
    assert indices.flatten().tolist() == [0, 1, 1, 1]
    torch.testing.assert_close(values.flatten(), torch.tensor([0.0, 10.0, 10.0, 10.0]))
    assert commitment == 1.0
    # Counts .5 and 1.5, sums .5 and 5 + 13.5; the smoothing of 1e-5 hardly changes the ratio.
    expected = torch.tensor([[1.0], [18.5 / 1.5]])
    torch.testing.assert_close(quantizer.vectors, expected, atol=1e-3, rtol=0)


@pytest.mark.parametrize("name", NETWORKS)
def test_codes_alone_decode_to_the_reconstruction(name: str) -> None:
    if name in PACKAGES:
        pytest.importorskip(PACKAGES[name], reason="in the extra 'benchmarks' only")
    torch.manual_seed(0)
    network = NETWORKS[name](16).train()
    images = torch.rand(4, 1, 32, 48)
    network(images)
    network.eval()
    with torch.no_grad():
        reconstructed, _ = network(images)
        indices = network.encode(images)  # type: ignore[operator]
        assert indices.shape == (4, 8, 12)
        torch.testing.assert_close(network.decode(indices), reconstructed)  # type: ignore[operator]


def test_a_vaes_latents_are_stored_at_the_rate_that_was_asked_for() -> None:
    torch.manual_seed(0)
    host = (np.random.default_rng(0).integers(0, 65535, (6, 32, 32)).astype(np.uint16),)
    data = Images(host, None, torch.device("cpu"), torch.contiguous_format)
    settings = {"width": 8, "dimension": 3, "ssim_weight": 1.0, "beta": 1e-3}
    model = Vae(settings, data)
    for images in data.in_order(3):
        model.step(images, 1e-3)
    model.fit_rate(data, bits=9.0)
    scores = score_model(model, data)
    assert scores.bits_per_pixel == pytest.approx(9 / 16, rel=0.05)
    images = next(data.in_order(6))
    coarse = model.encode(images) * model.step_size
    assert (coarse - model.mean_latents(images)).abs().max() <= model.step_size / 2 + 1e-6
    assert scores.whole["active_channels"] <= 3


def test_a_strong_prior_collapses_a_vae() -> None:
    torch.manual_seed(0)
    host = (np.random.default_rng(0).integers(0, 65535, (6, 32, 32)).astype(np.uint16),)
    data = Images(host, None, torch.device("cpu"), torch.contiguous_format)
    model = Vae({"width": 8, "dimension": 3, "ssim_weight": 0.0, "beta": 1e3}, data)
    for _ in range(100):
        model.step(next(data.in_order(6)), 1e-2)
    assert model.collapse(data)["active_channels"] == 0


class Recorder:
    """A model that only records its learning rates."""

    def __init__(self) -> None:
        self.rates: list[float] = []

    def step(self, images: torch.Tensor, rate: float) -> None:
        self.rates.append(rate)

    def mode(self, training: bool) -> None:
        pass


@pytest.mark.parametrize("budget", [Budget(None, 3), Budget(0.2, None)])
def test_the_schedule_spreads_over_the_whole_budget(budget: Budget) -> None:
    host = (np.zeros((8, 16, 16), np.uint16),)
    data = Images(host, None, torch.device("cpu"), torch.contiguous_format)
    model = Recorder()
    training = TrainingConfig(batch_size=2, learning_rate=1.0, warmup=0.0)
    *_, last = train(model, data, training, budget)  # type: ignore[arg-type]
    assert len(model.rates) == last.steps == last.images // 2
    assert sorted(model.rates[1:], reverse=True) == model.rates[1:]
    assert model.rates[0] > 0.9
    assert model.rates[-1] < 0.2
    if budget.epochs:
        assert (last.epochs, last.steps) == (3, 12)


def test_differences_are_paired_by_slice() -> None:
    def result(name: str, *values: list[float]) -> Result:
        names = ("ssim", "ssim_body", "ssim_uniform7", "ssim_zscore", "psnr", "nmse")
        return Result(name, [Scores(dict.fromkeys(names, v), {}, 0.5) for v in values])

    ours = result("ours", [0.5, 0.7], [0.7, 0.9])
    other = result("other", [0.5, 0.9])
    found = {row["model"]: row for row in rows([ours, other])}
    assert found["other"]["minus ours"] == "+0.0000"
    assert found["other"]["slices better"] == "1 of 2"
    assert found["ours"]["ssim"] == "0.7000"
    assert math.isclose(float(found["ours"]["± seeds"]), 0.1414, abs_tol=1e-4)
