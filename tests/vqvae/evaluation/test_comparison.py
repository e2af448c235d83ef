from pathlib import Path

import numpy as np
import pytest
import torch

from vqvae.config import DataConfig
from vqvae.data.layout import SplitName
from vqvae.data.splits import Group, Split, open_split
from vqvae.errors import InputError
from vqvae.evaluation import comparison
from vqvae.evaluation.comparison import best_and_worst, pairs_at, reconstruct_slice, ssim_at
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


@pytest.mark.parametrize(("split", "number"), [("validate", 3), ("train", 3), ("validate", 9)])
def test_the_slices_shown_are_those_with_the_highest_and_the_lowest_ssim(
    data: DataConfig, trained: Path, split: SplitName, number: int
) -> None:
    model, _ = load_model(trained)
    opened = open_split(data, split)
    ordered = sorted(pairs_at(model, opened, range(len(opened))), key=lambda pair: -pair.ssim)
    best = ordered[: min(number, len(ordered) // 2)]
    worst = ordered[len(ordered) - min(number, len(ordered) // 2) :]

    shown, scored = best_and_worst(model, opened, number)

    assert scored == len(opened)
    expected = [("best", pair) for pair in best] + [("worst", pair) for pair in worst]
    assert [pair.title for pair in shown] == [f"{kind}: {pair.title}" for kind, pair in expected]
    assert [pair.ssim for pair in shown] == [pair.ssim for _, pair in expected]


def test_a_slice_is_not_shown_twice(data: DataConfig, trained: Path) -> None:
    model, _ = load_model(trained)
    group = open_split(data, "validate").groups[0]
    three = Split("validate", (Group(group.images[:3], group.names[:3]),), ())

    shown, _ = best_and_worst(model, three, 3)

    assert [pair.title.partition(":")[0] for pair in shown] == ["best", "best", "worst"]
    assert len({pair.title.partition(": ")[2] for pair in shown}) == 3


def test_of_a_large_split_evenly_spaced_slices_are_scored(
    data: DataConfig, trained: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, _ = load_model(trained)
    opened = open_split(data, "train")
    monkeypatch.setattr(comparison, "MOST_SCORED", 4)

    shown, scored = best_and_worst(model, opened, 9)

    assert scored == len(shown) == 4
    spaced = {pair.title for pair in pairs_at(model, opened, [0, 4, 7, 11])}
    assert {pair.title.partition(": ")[2] for pair in shown} == spaced


def test_slices_scored_in_batches_have_the_ssim_of_each_alone(
    data: DataConfig, trained: Path
) -> None:
    model, _ = load_model(trained)
    opened = open_split(data, "train")
    chosen = np.array([1, 5, 9, 11])

    found = ssim_at(model, opened, chosen)

    expected = [pair.ssim for pair in pairs_at(model, opened, chosen)]
    np.testing.assert_allclose(found, expected, atol=1e-5)
