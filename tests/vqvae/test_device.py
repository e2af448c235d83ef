import pytest
import torch

from vqvae.device import choose_device, full_precision
from vqvae.errors import InputError


def test_float32_is_not_rounded_even_if_the_caller_allows_it() -> None:
    before = torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32
    torch.set_float32_matmul_precision("high")
    try:
        with full_precision():
            assert torch.get_float32_matmul_precision() == "highest"
            assert not torch.backends.cudnn.allow_tf32
            assert torch.backends.cudnn.enabled
        assert torch.get_float32_matmul_precision() == "high"
    finally:
        torch.set_float32_matmul_precision(before[0])
    assert (torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32) == before


@pytest.mark.parametrize("requested", ["gpu", "CUDA", ""])
def test_a_misspelt_device_does_not_fall_back_to_the_cpu(requested: str) -> None:
    message = f"device {requested!r} is not a valid device; the valid ones are auto, cpu, cuda"
    with pytest.raises(InputError, match=message):
        choose_device(requested)
