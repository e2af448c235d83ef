import pytest
import torch
from torchmetrics.functional.image import structural_similarity_index_measure

from vqvae.config import ModelConfig
from vqvae.model.reconstruction_loss import (
    mean_ssim,
    reconstruction_loss,
    reconstruction_scale_of,
)


@pytest.mark.parametrize("size", [(11, 11), (32, 48), (97, 61)])
def test_ssim_is_that_of_the_main_protocol_inside_the_image(size: tuple[int, int]) -> None:
    torch.manual_seed(0)
    images = torch.rand(3, 1, *size)
    noisy = images + 0.2 * torch.randn_like(images)
    _, everywhere = structural_similarity_index_measure(
        noisy, images, sigma=1.5, kernel_size=11, data_range=1.0, return_full_image=True
    )
    expected = everywhere[..., 5:-5, 5:-5].mean()
    torch.testing.assert_close(mean_ssim(images, noisy), expected, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(mean_ssim(images, images), torch.tensor(1.0))


def test_ssim_has_a_gradient_that_improves_it() -> None:
    torch.manual_seed(0)
    images = torch.rand(2, 1, 24, 24)
    noisy = (images + 0.1 * torch.randn_like(images)).requires_grad_()
    before = mean_ssim(images, noisy)
    (gradient,) = torch.autograd.grad(before, noisy)
    assert mean_ssim(images, noisy + 1.0 * gradient) > before


def test_images_too_small_for_ssim_have_the_error_of_their_pixels_only() -> None:
    images, scale = torch.rand(2, 1, 8, 40), torch.tensor(0.5)
    error = (images - 0.5).square().mean()
    found = reconstruction_loss(ModelConfig(), torch.full_like(images, 0.5), images, scale)
    torch.testing.assert_close(found, error / scale)


@pytest.mark.parametrize("loss", ["l1", "mse"])
def test_the_scale_is_the_loss_of_predicting_the_mean(loss: str) -> None:
    config = ModelConfig.model_validate({"reconstruction_loss": loss})
    images = torch.rand(5, 1, 16, 16)

    expected = images.var(correction=0) if loss == "mse" else (images - images.mean()).abs().mean()

    torch.testing.assert_close(reconstruction_scale_of(config, images), expected)


def test_the_scale_of_blank_training_images_is_not_zero() -> None:
    assert reconstruction_scale_of(ModelConfig(), torch.zeros(2, 1, 16, 16)) > 0
