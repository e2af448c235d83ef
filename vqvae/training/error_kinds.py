"""Classifying an exception of a training, so that the caller can decide how to retry."""

from typing import Literal

import torch

from vqvae.errors import UnavailableError

ErrorKind = Literal["out_of_memory", "process_lost", "environment_unavailable", "bug"]
_OUT_OF_MEMORY = (
    *("out of memory", "can't allocate memory", "alloc_failed", "allocation_failed"),
    # cuDNN raises these when there is no memory for the workspace of any convolution algorithm.
    *("unable to find a valid cudnn algorithm", "find was unable to find an engine"),
)
_PROCESS_LOST = (
    *("cuda error", "device-side assert", "cuda driver error", "cublas_status_", "cudnn_status_"),
    *("cudnn error", "cusolver error", "cufft error", "misaligned address", "nccl error"),
)


def classify_error(error: Exception) -> ErrorKind:
    """Classify an exception of a training.

    Returns:
        `out_of_memory`: retry with more accumulation steps or with exclusive use of the device.
        `process_lost`: CUDA is unusable in this process; retry in a new one.
        `environment_unavailable`: data or disk are unavailable; retry later.
        `bug`: anything else.

    torch has an exception class only for failures of its own allocator. Errors of CUDA, cuBLAS and
    cuDNN are plain RuntimeErrors, which are recognised by their messages.
    """
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return "out_of_memory"
    if isinstance(error, UnavailableError):
        return "environment_unavailable"
    if not isinstance(error, RuntimeError):
        return "bug"
    message = str(error).lower()
    if any(text in message for text in _OUT_OF_MEMORY):
        return "out_of_memory"
    # CUDA is asynchronous: any earlier kernel may have failed, and every later call fails too.
    lost = isinstance(error, torch.AcceleratorError) or any(
        text in message for text in _PROCESS_LOST
    )
    return "process_lost" if lost else "bug"
