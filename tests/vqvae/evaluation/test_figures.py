from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from vqvae.evaluation.figures import Pair, write_comparison


@pytest.mark.parametrize(("height", "width"), [(32, 24), (256, 128), (400, 500)])
def test_images_are_rendered_pixel_by_pixel(tmp_path: Path, height: int, width: int) -> None:
    original = np.zeros((height, width), np.float32)
    pair = Pair("one\ntwo", original, original + 1, 0.5)

    write_comparison(tmp_path / "x" / "p.png", [pair, pair], "a heading")

    with Image.open(tmp_path / "x" / "p.png") as figure:
        pixels = np.asarray(figure)
    times = max(1, 288 // max(height, width))
    # Original and difference are black; the reconstruction is white, like the background.
    black = (pixels == 0).all(-1).sum()
    assert black == 4 * height * width * times**2
