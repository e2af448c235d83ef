import pytest
import torch

from vqvae.config import ModelConfig
from vqvae.model.encoder_decoder import Residual
from vqvae.model.reconstruction_loss import mean_ssim
from vqvae.model.vqvae import VQVAE, crop, pad


def make(**changes: object) -> VQVAE:
    small = {"width": 8, "residual_blocks": 1, "residual_width": 4}
    small |= {"codebook_size": 16, "code_dimension": 4}
    model = VQVAE(ModelConfig.model_validate(small | changes))
    model.quantizer.codebook.vectors.data.normal_()
    return model


@pytest.mark.parametrize("stride", [2, 4, 8, 16])
@pytest.mark.parametrize("size", [(32, 32), (33, 47), (17, 18)])
def test_a_reconstruction_has_the_size_of_its_image(stride: int, size: tuple[int, int]) -> None:
    images = torch.rand(2, 1, *size)

    reconstructed, codes = make(stride=stride)(images)

    assert reconstructed.shape == images.shape
    assert codes.shape == (2, *(-(-side // stride) for side in size))
    assert 0 <= reconstructed.min() <= reconstructed.max() <= 1


def test_cropping_undoes_padding() -> None:
    images = torch.rand(2, 1, 13, 18)

    padded = pad(images, 8)

    assert padded.shape[-2:] == (16, 24)
    assert torch.equal(crop(padded, 13, 18), images)
    assert torch.equal(padded[..., :13, 20], images[..., -1])


@pytest.mark.parametrize("weight", [0.0, 1.5])
@pytest.mark.parametrize("loss", ["l1", "mse"])
def test_the_loss_terms_follow_their_definitions(loss: str, weight: float) -> None:
    model = make(reconstruction_loss=loss, commitment=0.7, ssim_weight=weight)
    images = torch.rand(3, 1, 18, 21)
    model.reconstruction_scale.fill_(0.5)

    found = model.losses(images)

    error = found.images - images
    distance = error.abs().mean() if loss == "l1" else error.square().mean()
    codes = model.quantizer.codes_to_vectors(found.indices)
    gap = (found.encoded - codes).square().mean()
    structure = weight * (1 - mean_ssim(images, found.images))
    torch.testing.assert_close(found.reconstruction, distance / 0.5 + structure)
    torch.testing.assert_close(found.codebook, gap)
    torch.testing.assert_close(found.commitment, 0.7 * gap)
    torch.testing.assert_close(found.total, found.reconstruction + found.commitment)


def test_only_a_codebook_with_a_gradient_adds_its_loss() -> None:
    found = make(codebook="gradient").losses(torch.rand(2, 1, 16, 16))

    terms = found.reconstruction + found.commitment + found.codebook
    torch.testing.assert_close(found.total, terms)


@pytest.mark.parametrize("kind", ["ema", "gradient"])
def test_every_parameter_has_a_gradient(kind: str) -> None:
    model = make(codebook=kind)

    model.losses(torch.rand(2, 1, 16, 16)).total.backward()

    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
        # The last layer of a residual block starts at 0, so the layers before it have gradient 0.
        if ".body.1." not in name:
            assert parameter.grad.any(), name


def test_the_first_reconstructions_have_little_contrast() -> None:
    model = make(width=32, residual_blocks=4)

    reconstructed = model.losses(torch.rand(4, 1, 32, 32)).images

    assert 0 < reconstructed.std() < 0.3


def test_a_residual_block_starts_as_the_identity() -> None:
    blocks = [some for some in make(residual_blocks=2).modules() if isinstance(some, Residual)]
    features = torch.randn(2, 8, 5, 5)

    assert len(blocks) == 4
    for block in blocks:
        assert torch.equal(block(features), features)


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("codebook", ["ema", "gradient"])
def test_codes_alone_give_the_reconstruction_bit_for_bit(
    codebook: str, layout: torch.memory_format
) -> None:
    model = make(codebook=codebook).eval()
    images = torch.rand(3, 1, 37, 26).contiguous(memory_format=layout)

    reconstructed, indices = model(images)

    assert torch.equal(model.encode(images), indices)
    assert torch.equal(model.decode(indices, 37, 26), reconstructed)


def test_validation_scores_what_the_codes_alone_give() -> None:
    model, images = make().eval(), torch.rand(3, 1, 37, 26)

    with torch.no_grad():
        found = model.losses(images).images.clamp(0, 1)

    assert torch.equal(found, model(images)[0])


def test_the_reconstruction_loss_has_a_gradient_for_the_encoder() -> None:
    model = make()

    model.losses(torch.rand(2, 1, 16, 16)).reconstruction.backward()

    assert model.encoder[0].weight.grad.any()
