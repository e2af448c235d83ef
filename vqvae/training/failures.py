"""What an exception of a training means: for its process, its device, and for trying again."""

from typing import Literal

import torch

from vqvae.errors import UnavailableError

ErrorKind = Literal["out_of_memory", "process_lost", "environment_unavailable", "bug"]
_OUT_OF_MEMORY = (
    *("out of memory", "can't allocate memory", "alloc_failed", "allocation_failed"),
    # What is left to cuDNN when it tries convolutions and no workspace is to be had.
    *("unable to find a valid cudnn algorithm", "find was unable to find an engine"),
)
_PROCESS_LOST = (
    *("cuda error", "device-side assert", "cuda driver error", "cublas_status_", "cudnn_status_"),
    *("cudnn error", "cusolver error", "cufft error", "misaligned address", "nccl error"),
)


def classify_error(error: Exception) -> ErrorKind:
    """What an exception means for this process and its device.

    torch has a type for its own allocator's refusal alone; what CUDA, cuBLAS and cuDNN answer
    comes as a RuntimeError, and is known by its words.
    """
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return "out_of_memory"
    if isinstance(error, UnavailableError):
        return "environment_unavailable"
    if not isinstance(error, RuntimeError):
        return "bug"
    words = str(error).lower()
    if any(sign in words for sign in _OUT_OF_MEMORY):
        return "out_of_memory"
    # Asynchronous: what failed may be any kernel before, and every call after it fails, too.
    lost = isinstance(error, torch.AcceleratorError) or any(sign in words for sign in _PROCESS_LOST)
    return "process_lost" if lost else "bug"
