"""Which device computes, and under which settings."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

import torch
from torch import Tensor

from vqvae.config import TrainingConfig
from vqvae.errors import InputError

DEVICES = ("auto", "cpu", "cuda")


def choose_device(wanted: str) -> torch.device:
    """The device for `auto`, `cpu` or `cuda`.

    Raises:
        InputError: another is asked for, or CUDA where there is none. Going on without would be a
            job of days that looks like one of minutes.
    """
    if wanted not in DEVICES:
        raise InputError(f"no device is named {wanted!r}; valid: {', '.join(DEVICES)}")
    if wanted == "cuda" and not torch.cuda.is_available():
        raise InputError("device 'cuda' is asked for, but torch sees no CUDA device here")
    return torch.device("cuda" if wanted != "cpu" and torch.cuda.is_available() else "cpu")


def to_device(tensor: Tensor, device: torch.device) -> Tensor:
    """`tensor`, from the host, on `device`, without making the host wait until it is there."""
    if device.type != "cuda":
        return tensor.to(device)
    return tensor.pin_memory().to(device, non_blocking=True)


def memory_format(device: torch.device, precision: str) -> torch.memory_format:
    """How feature maps lie in memory.

    On a CPU channels-last was faster in every case measured (docs/gpu.md); on a GPU tensor cores
    read bfloat16 that way, and float32 has not been measured.
    """
    pays = device.type == "cpu" or precision == "bfloat16"
    return torch.channels_last if pays else torch.contiguous_format


def autocast(device: torch.device, config: TrainingConfig) -> AbstractContextManager[object]:
    """The precision that encoder and decoder compute in."""
    if config.precision == "float32":
        return nullcontext()
    return torch.autocast(device.type, dtype=torch.bfloat16)


@contextmanager
def full_precision() -> Iterator[None]:
    """Let float32 mean float32 on a GPU too, where torch lets convolutions round to TF32's 10 bits.

    Which convolution is fastest is tried out there. Fixing the choice would cost time and promise
    nothing: sums over codes are taken in the order in which they come.
    """
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("highest")
    try:
        with torch.backends.cudnn.flags(enabled=True, benchmark=True, allow_tf32=False):
            yield
    finally:
        torch.set_float32_matmul_precision(before)


@contextmanager
def reproducible(threads: int) -> Iterator[None]:
    """Compute so that the same input gives the same bits on a CPU.

    The number of threads decides there in which order sums are taken.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        with full_precision():
            yield
    finally:
        torch.set_num_threads(before)
