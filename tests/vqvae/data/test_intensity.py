import numpy as np
import pytest

from vqvae.data.intensity import restore, scale


def test_restore_undoes_scale_within_the_clip() -> None:
    pixels = np.random.default_rng(0).gamma(2, 150, (64, 32)).astype(np.float32)
    scaled, window = scale(pixels)
    inside = pixels <= window.high
    back = restore(scaled, window)
    np.testing.assert_allclose(back[inside], pixels[inside], rtol=1e-5, atol=1e-3)
    assert (back[~inside] == np.float32(window.high)).all()
    assert 0 < (~inside).sum() <= pixels.size * 0.001 + 1


def test_scaled_intensities_lie_between_zero_and_one() -> None:
    scaled, window = scale(np.random.default_rng(0).normal(-50, 20, (32, 32)))
    assert scaled.dtype == np.float32
    assert (scaled.min(), scaled.max()) == (0, 1)
    assert window.low < 0


@pytest.mark.parametrize("value", [0, -3, 700])
def test_a_constant_slice_is_scaled_to_zero_and_restored(value: int) -> None:
    pixels = np.full((8, 8), value, np.int16)
    scaled, window = scale(pixels)
    assert not scaled.any()
    np.testing.assert_array_equal(restore(scaled, window), pixels)


def test_a_single_bright_pixel_is_kept() -> None:
    pixels = np.zeros((64, 64), np.float32)
    pixels[3, 4] = 9
    assert scale(pixels)[0][3, 4] == 1


def test_the_unit_of_the_intensities_does_not_matter() -> None:
    pixels = np.random.default_rng(0).uniform(0, 1000, (32, 32))
    np.testing.assert_allclose(scale(pixels)[0], scale(pixels * 3.7 + 12)[0], atol=1e-5)
