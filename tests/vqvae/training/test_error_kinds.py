import pytest
import torch

from vqvae.errors import UnavailableError
from vqvae.training.error_kinds import classify_error


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
        (UnavailableError("data folder d does not exist"), "environment_unavailable"),
    ],
    ids=str,
)
def test_exceptions_are_classified_by_class_and_message(error: Exception, kind: str) -> None:
    assert classify_error(error) == kind


def test_out_of_memory_on_the_host_is_classified() -> None:
    with pytest.raises(RuntimeError) as refused:
        torch.empty(2**60)

    assert classify_error(refused.value) == "out_of_memory"
