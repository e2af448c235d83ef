import numpy as np
import pytest
import torch
from scipy import ndimage
from torchmetrics.functional.image import structural_similarity_index_measure

from vqvae.data.nifti import SMALLEST_SIDE
from vqvae.errors import InputError
from vqvae.evaluation import metrics


@pytest.fixture
def pair() -> tuple[torch.Tensor, torch.Tensor]:
    smooth = ndimage.gaussian_filter(np.random.default_rng(0).random((3, 40, 33)), (0, 2, 2))
    smooth = (smooth - smooth.min()) / np.ptp(smooth)
    noisy = np.clip(smooth + np.random.default_rng(1).normal(0, 0.05, smooth.shape), 0, 1)
    return torch.tensor(smooth[:, None]).float(), torch.tensor(noisy[:, None]).float()


def reference(x: np.ndarray, y: np.ndarray, blur: object, edge: int, factor: float = 1) -> float:
    """SSIM of two images [H, W] with range 1, in float64, by equation 13 of the paper."""
    mx, my = blur(x), blur(y)
    vx, vy = factor * (blur(x * x) - mx**2), factor * (blur(y * y) - my**2)
    cov = factor * (blur(x * y) - mx * my)
    values = (2 * mx * my + 1e-4) * (2 * cov + 9e-4)
    values = values / ((mx**2 + my**2 + 1e-4) * (vx + vy + 9e-4))
    return float(values[edge : len(x) - edge, edge : x.shape[1] - edge].mean())


def gaussian(image: np.ndarray) -> np.ndarray:
    return ndimage.gaussian_filter(image, 1.5, radius=5, mode="mirror")


def uniform(image: np.ndarray) -> np.ndarray:
    return ndimage.uniform_filter(image, 7)


def each(pair: tuple[torch.Tensor, torch.Tensor]) -> list[tuple[np.ndarray, np.ndarray]]:
    x, y = (images[:, 0].double().numpy() for images in pair)
    return list(zip(x, y, strict=True))


def test_ssim_equals_an_independent_reference(pair: tuple[torch.Tensor, torch.Tensor]) -> None:
    expected = [reference(x, y, gaussian, 0) for x, y in each(pair)]

    np.testing.assert_allclose(metrics.ssim(*pair), expected, atol=1e-5)


def test_ssim_equals_that_of_torchmetrics(pair: tuple[torch.Tensor, torch.Tensor]) -> None:
    expected = structural_similarity_index_measure(
        pair[1], pair[0], data_range=1.0, reduction="none"
    )

    torch.testing.assert_close(metrics.ssim(*pair), expected, atol=1e-5, rtol=0)


def test_uniform_ssim_takes_each_originals_own_range(
    pair: tuple[torch.Tensor, torch.Tensor],
) -> None:
    expected = []
    for x, y in each(pair):
        low, extent = x.min(), np.ptp(x)
        scaled = (x - low) / extent, (y - low) / extent
        expected.append(reference(*scaled, uniform, 3, factor=49 / 48))

    np.testing.assert_allclose(metrics.ssim_uniform(*pair), expected, atol=1e-5)


def test_zscore_ssim_scales_by_the_original(pair: tuple[torch.Tensor, torch.Tensor]) -> None:
    expected = [
        reference((x - x.mean()) / x.std(), (y - x.mean()) / x.std(), gaussian, 0)
        for x, y in each(pair)
    ]

    np.testing.assert_allclose(metrics.ssim_zscore(*pair), expected, atol=1e-4)


def test_ssim_inside_depends_only_on_the_mask(pair: tuple[torch.Tensor, torch.Tensor]) -> None:
    x, y = pair
    mask = torch.zeros_like(x, dtype=torch.bool)
    mask[..., 10:20, 10:20] = True
    changed_outside = y.clone()
    changed_outside[..., 26:, :] = 0

    found = metrics.ssim_inside(x, changed_outside, mask)

    torch.testing.assert_close(found, metrics.ssim_inside(x, y, mask))
    assert (metrics.ssim_inside(x, y, mask & False)).isnan().all()


def test_equal_images_score_highest(pair: tuple[torch.Tensor, torch.Tensor]) -> None:
    x, _ = pair
    for name in ("ssim", "ssim_uniform", "ssim_zscore"):
        torch.testing.assert_close(getattr(metrics, name)(x, x), torch.ones(3))
    assert metrics.psnr(x, x).tolist() == pytest.approx([100] * 3)
    assert metrics.nmse(x, x).tolist() == [0] * 3


def test_psnr_and_nmse_follow_their_definitions(pair: tuple[torch.Tensor, torch.Tensor]) -> None:
    errors = [((x - y) ** 2).mean() for x, y in each(pair)]
    energies = [(x**2).mean() for x, _ in each(pair)]

    np.testing.assert_allclose(metrics.psnr(*pair), 10 * np.log10(1 / np.array(errors)), rtol=1e-5)
    np.testing.assert_allclose(metrics.nmse(*pair), np.divide(errors, energies), rtol=1e-4)


def test_a_blank_slice_has_no_nmse_and_finite_other_scores() -> None:
    blank = torch.zeros(1, 1, 16, 16)

    assert metrics.nmse(blank, blank + 0.1).isnan().all()
    for name in ("ssim", "ssim_uniform", "ssim_zscore", "psnr"):
        assert getattr(metrics, name)(blank, blank + 0.1).isfinite().all(), name


def test_an_image_smaller_than_the_window_is_refused() -> None:
    with pytest.raises(InputError, match="at least 11 pixels a side, not 8x30"):
        metrics.ssim(torch.zeros(1, 1, 8, 30), torch.zeros(1, 1, 8, 30))


def test_the_smallest_slice_that_is_read_can_be_scored() -> None:
    smallest = torch.zeros(1, 1, SMALLEST_SIDE, SMALLEST_SIDE)

    assert metrics.ssim(smallest, smallest).isfinite().all()


def test_codebook_usage_counts_codes_not_uses() -> None:
    assert metrics.codebook_usage(torch.tensor([5, 0, 1, 0])) == 0.5
