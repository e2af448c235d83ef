from pathlib import Path

import numpy as np
import pytest
import torch

from vqvae.config import DataConfig
from vqvae.data.splits import open_split
from vqvae.errors import InputError
from vqvae.evaluation.comparison import compare, pairs_at, reconstruct_slice
from vqvae.evaluation.metrics import psnr, ssim
from vqvae.training.checkpoint import load_model


def test_a_slice_is_reconstructed_and_scored_as_by_the_model(trained: Path) -> None:
    model, _ = load_model(trained)
    original = np.random.default_rng(0).random((33, 27), np.float32)

    found = reconstruct_slice(model, original)

    images = torch.from_numpy(original)[None, None]
    with torch.inference_mode():
        reconstructed, indices = model(images)
    np.testing.assert_array_equal(found.pixels, reconstructed[0, 0].numpy())
    assert found.codes == indices.numel()
    assert found.ssim == float(ssim(images, reconstructed))
    assert found.psnr == float(psnr(images, reconstructed))


def test_a_slice_too_small_to_score_is_refused(trained: Path) -> None:
    model, _ = load_model(trained)

    with pytest.raises(InputError, match="at least 11 pixels a side, not 8x20"):
        reconstruct_slice(model, np.zeros((8, 20), np.float32))


def test_slices_are_named_and_come_from_all_groups(data: DataConfig, trained: Path) -> None:
    model, _ = load_model(trained)
    split = open_split(data, "train")

    first, last = pairs_at(model, split, [0, len(split) - 1])

    assert first.title == "case 004\nweek 0 slice 0"
    assert last.title == "case 006\nweek 0 slice 3"
    assert first.original.shape == first.made.shape == (32, 24)
    assert last.original.shape == last.made.shape == (32, 27)


@pytest.mark.parametrize(("number", "expected"), [(2, [2, 5]), (8, list(range(8))), (99, 8)])
def test_compared_slices_are_evenly_spaced(
    data: DataConfig, trained: Path, number: int, expected: list[int] | int
) -> None:
    model, _ = load_model(trained)
    split = open_split(data, "validate")
    titles = [pair.title for pair in pairs_at(model, split, range(len(split)))]

    found = [titles.index(pair.title) for pair in compare(model, split, number)]

    assert found == (list(range(expected)) if isinstance(expected, int) else expected)
