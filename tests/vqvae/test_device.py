import pytest
import torch

from vqvae.device import choose_device, full_precision
from vqvae.errors import InputError


def test_float32_is_not_rounded_whatever_the_caller_allows() -> None:
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


@pytest.mark.parametrize("wanted", ["gpu", "CUDA", ""])
def test_a_misspelt_device_is_not_taken_for_the_cpu(wanted: str) -> None:
    with pytest.raises(InputError, match=f"no device is named {wanted!r}; valid: auto, cpu, cuda"):
        choose_device(wanted)
