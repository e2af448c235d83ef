import pytest
import torch

from vqvae.config import DataConfig
from vqvae.data.batches import Images, open_images
from vqvae.data.splits import open_split

CPU = torch.device("cpu")


@pytest.fixture
def images(data: DataConfig) -> Images:
    return open_images(open_split(data, "train"), CPU, torch.channels_last)


def keys(batches: list[torch.Tensor]) -> list[tuple[int, ...]]:
    """Keys that identify images: integer sums over their rows."""
    return [tuple((1e6 * image).long().sum((0, 1)).tolist()) for b in batches for image in b]


def test_an_epoch_contains_every_image_once(images: Images) -> None:
    batches = list(images.shuffled(3, seed=0, epoch=1))

    assert sorted(keys(batches)) == sorted(keys(list(images.in_order(5))))
    assert len(batches) == images.steps(3) == 3 + 2
    assert len(images) == 12


def test_a_batch_has_one_shape_and_the_order_mixes_them(images: Images) -> None:
    widths = {
        tuple(batch.shape[-1] for batch in images.shuffled(2, seed=0, epoch=epoch))
        for epoch in range(10)
    }

    assert {width for order in widths for width in order} == {24, 27}
    assert len(widths) > 3


def test_the_order_depends_on_seed_and_epoch_alone(images: Images) -> None:
    first = keys(list(images.shuffled(3, seed=1, epoch=2)))

    assert keys(list(images.shuffled(3, seed=1, epoch=2))) == first
    assert keys(list(images.shuffled(3, seed=1, epoch=3))) != first
    assert keys(list(images.shuffled(3, seed=2, epoch=2))) != first


def test_intensities_lie_between_zero_and_one(images: Images) -> None:
    for batch in images.in_order(4):
        assert batch.dtype == torch.float32
        assert batch.amin() == 0
        assert batch.amax() == 1


def test_images_on_a_device_have_the_same_intensities(images: Images) -> None:
    bits = tuple(torch.from_numpy(group.view("int16").copy()) for group in images.host)
    resident = Images(images.host, bits, CPU, torch.channels_last)

    for one, other in zip(images.in_order(4), resident.in_order(4), strict=True):
        assert torch.equal(one, other)
