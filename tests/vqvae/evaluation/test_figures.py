import itertools
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from vqvae.evaluation.figures import ERROR_SCALE, Pair, write_comparison, write_preview


def pixels_of(path: Path) -> np.ndarray:
    with Image.open(path) as figure:
        return np.asarray(figure.convert("RGB"))


def is_colour(pixels: np.ndarray) -> np.ndarray:
    return np.ptp(pixels.astype(int), axis=-1) > 0


@pytest.mark.parametrize(("height", "width"), [(32, 24), (256, 128), (400, 500)])
def test_images_are_rendered_pixel_by_pixel(tmp_path: Path, height: int, width: int) -> None:
    original = np.zeros((height, width), np.float32)
    pair = Pair("one\ntwo", original, original + 1, 0.5)

    write_comparison(tmp_path / "x" / "p.png", [pair, pair], "a heading")

    pixels = pixels_of(tmp_path / "x" / "p.png")
    times = max(1, 288 // max(height, width))
    # The original is black; the reconstruction is white, like the background; the error is the
    # largest one, whose colour is also at the top of the bar.
    assert (pixels == 0).all(-1).sum() == 2 * height * width * times**2
    darkest = (pixels == (96, 0, 32)).all(-1).sum()
    assert 0 <= darkest - 2 * height * width * times**2 < 100


@pytest.mark.parametrize(("height", "width"), [(32, 16), (128, 64), (256, 128), (400, 500)])
def test_a_preview_has_the_slice_at_the_left_and_the_reconstruction_at_the_right(
    tmp_path: Path, height: int, width: int
) -> None:
    original = np.zeros((height, width), np.float32)

    write_preview(tmp_path / "p.png", Pair("one", original, original + 0.5, 0.5))

    pixels = pixels_of(tmp_path / "p.png")
    times = max(1, 256 // max(height, 2 * width))
    shown = pixels[pixels.shape[0] - height * times :]
    assert shown.shape[1] == 2 * width * times
    assert (shown[:, : width * times] == 0).all()
    assert (shown[:, width * times :] == 128).all()


def test_a_larger_error_is_darker_and_errors_beyond_the_scale_are_alike(tmp_path: Path) -> None:
    errors = np.float32([0, 0.25, 0.5, 0.75, 1, 3]) * np.float32(ERROR_SCALE)
    original = np.zeros((60, 60), np.float32)
    made = np.repeat(errors, 10)[None].repeat(60, 0)

    write_comparison(tmp_path / "p.png", [Pair("a", original, made, 0.5)])

    pixels = pixels_of(tmp_path / "p.png")
    row = pixels[-100]  # through the errors
    # The pixels of the bar, in the margin, have colours too.
    seen = [colour for colour, _ in itertools.groupby(map(tuple, row[100 : 100 + 240]))]
    assert len(seen) == 5  # the last two are one
    luminances = [np.dot(colour, (0.299, 0.587, 0.114)) for colour in seen]
    assert luminances == sorted(luminances, reverse=True)
    assert is_colour(pixels[:, :100]).any()


def test_the_same_error_has_the_same_colour_in_every_figure(tmp_path: Path) -> None:
    original = np.zeros((256, 256), np.float32)
    seen = []
    for at, other in enumerate((0.01, 0.9)):
        pairs = [Pair("a", original, original + 0.1, 0.5), Pair("b", original, original + other, 0)]
        write_comparison(tmp_path / f"{at}.png", pairs)
        seen.append(tuple(pixels_of(tmp_path / f"{at}.png")[-100, 200]))

    assert seen[0] == seen[1]
    assert len(set(seen[0])) > 1


def test_a_figure_of_noise_is_small(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    pairs = []
    for at in range(6):
        original = random.normal(0.5, 0.04, (256, 128)).astype(np.float32)
        pairs.append(Pair(f"slice {at}", original, original * 0 + 0.5, 0.3))

    write_comparison(tmp_path / "p.png", pairs, "a heading")

    assert (tmp_path / "p.png").stat().st_size < 300_000
