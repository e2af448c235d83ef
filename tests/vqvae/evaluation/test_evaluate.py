import math

import numpy as np
import pytest
import torch

from tests.vqvae.conftest import blobs, tiny
from vqvae.config import DataConfig
from vqvae.evaluation.evaluate import bootstrap, evaluate
from vqvae.evaluation.metrics import ssim
from vqvae.evaluation.regions import body
from vqvae.model.vqvae import VQVAE


@pytest.fixture
def model(data: DataConfig) -> VQVAE:
    model = VQVAE(tiny(data).model)
    model.quantizer.codebook.vectors.normal_()
    return model.eval()


def test_every_slice_counts_once_in_any_shape(model: VQVAE, data: DataConfig) -> None:
    found = evaluate(model, data, "train")

    assert found.slices == 12
    assert set(found.patients) == {4, 5, 6}
    assert found.scores["ssim"] == pytest.approx(
        np.mean([scores["ssim"] for scores in found.patients.values()])
    )
    assert found.scores["bits_per_pixel"] == pytest.approx(
        math.log2(16) * (8 * 8 * 6 + 4 * 8 * 7) / (8 * 32 * 24 + 4 * 32 * 27)
    )
    assert 1 <= found.scores["perplexity"] <= 16
    assert found.intervals["ssim"].low <= found.scores["ssim"] <= found.intervals["ssim"].high


def test_the_ssim_agrees_with_scoring_each_image(model: VQVAE, data: DataConfig) -> None:
    from vqvae.data.batches import open_images
    from vqvae.data.splits import open_split

    found = evaluate(model, data, "validate")

    opened = open_split(data, "validate")
    images = open_images(opened, torch.device("cpu"), torch.contiguous_format)
    with torch.no_grad():
        scores = torch.cat([ssim(batch, model(batch)[0]) for batch in images.in_order(1)])
    assert found.scores["ssim"] == pytest.approx(scores.mean().item(), abs=1e-5)


def test_the_bootstrap_resamples_patients_not_slices() -> None:
    apart = [np.full(50, 0.2), np.full(50, 0.8)]
    equal = [np.array([0.2, 0.8] * 25)] * 2

    assert bootstrap(apart).low == pytest.approx(0.2)
    assert bootstrap(apart).high == pytest.approx(0.8)
    assert bootstrap(equal).low == pytest.approx(bootstrap(equal).high)
    assert bootstrap(apart) == bootstrap(apart)


def test_one_patient_has_no_interval() -> None:
    assert bootstrap([np.ones(60)]) is None


def test_the_body_has_no_holes_and_no_air() -> None:
    rows, columns = np.mgrid[:64, :48]
    distance = np.hypot(rows - 32, columns - 24)
    image = np.where((distance < 18) & (distance > 6), 0.8, 0.0).astype(np.float32)
    image[2:5, 2:5] = 0.8

    mask = body(torch.from_numpy(image)[None, None])[0, 0]

    assert mask[32, 24]
    assert not mask[3, 3]
    assert not mask[60, 2]


def test_a_blank_slice_has_no_body() -> None:
    assert not body(torch.zeros(1, 1, 32, 32)).any()


def test_an_image_of_blobs_has_a_body() -> None:
    image = torch.from_numpy(blobs(1, 32, 24) / 900)[None, None]

    assert 0.02 < body(image).double().mean() < 0.9
