import pytest
import torch

from vqvae.device import choose_device, classify_error, full_precision
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


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (
            torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."),
            "out_of_memory",
        ),
        (MemoryError(), "out_of_memory"),
        (RuntimeError("CUDA error: out of memory"), "out_of_memory"),
        (
            RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling cublasCreate"),
            "out_of_memory",
        ),
        (RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"), "out_of_memory"),
        (
            RuntimeError("FIND was unable to find an engine to execute this computation"),
            "out_of_memory",
        ),
        (
            RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried"),
            "out_of_memory",
        ),
        (torch.AcceleratorError("CUDA error: device-side assert triggered", 710), "process_lost"),
        (RuntimeError("CUDA error: an illegal memory access was encountered"), "process_lost"),
        (RuntimeError("cuDNN error: CUDNN_STATUS_EXECUTION_FAILED"), "process_lost"),
        (RuntimeError("CUDA error: CUBLAS_STATUS_EXECUTION_FAILED"), "process_lost"),
        (RuntimeError("mat1 and mat2 shapes cannot be multiplied (2x3 and 4x5)"), "bug"),
        (ValueError("out of memory, says somebody"), "bug"),
    ],
    ids=str,
)
def test_an_exception_tells_of_memory_of_the_process_or_of_the_program(
    error: Exception, kind: str
) -> None:
    assert classify_error(error) == kind


def test_what_torch_raises_where_the_host_has_too_little_memory_is_known() -> None:
    with pytest.raises(RuntimeError) as refused:
        torch.empty(2**60)

    assert classify_error(refused.value) == "out_of_memory"
