import pytest
import torch

from vqvae.device import choose_device, exact, kind_of
from vqvae.errors import InputError


def test_float32_is_not_rounded_whatever_the_caller_allows() -> None:
    before = torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32
    torch.set_float32_matmul_precision("high")
    try:
        with exact():
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


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."), "memory"),
        (MemoryError(), "memory"),
        (RuntimeError("CUDA error: out of memory"), "memory"),
        (
            RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling cublasCreate"),
            "memory",
        ),
        (RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"), "memory"),
        (RuntimeError("FIND was unable to find an engine to execute this computation"), "memory"),
        (
            RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried"),
            "memory",
        ),
        (torch.AcceleratorError("CUDA error: device-side assert triggered", 710), "unusable"),
        (RuntimeError("CUDA error: an illegal memory access was encountered"), "unusable"),
        (RuntimeError("cuDNN error: CUDNN_STATUS_EXECUTION_FAILED"), "unusable"),
        (RuntimeError("CUDA error: CUBLAS_STATUS_EXECUTION_FAILED"), "unusable"),
        (RuntimeError("mat1 and mat2 shapes cannot be multiplied (2x3 and 4x5)"), "bug"),
        (ValueError("out of memory, says somebody"), "bug"),
    ],
    ids=str,
)
def test_an_exception_tells_of_memory_of_the_process_or_of_the_program(
    error: Exception, kind: str
) -> None:
    assert kind_of(error) == kind


def test_what_torch_raises_where_the_host_has_too_little_memory_is_known() -> None:
    with pytest.raises(RuntimeError) as refused:
        torch.empty(2**60)

    assert kind_of(refused.value) == "memory"
