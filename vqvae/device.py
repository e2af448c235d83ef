"""Which device computes, and with which numerical settings."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

import torch
from torch import Tensor

from vqvae.config import TrainingConfig
from vqvae.errors import InputError

DEVICES = ("auto", "cpu", "cuda")


def choose_device(requested: str) -> torch.device:
    """The device for `auto`, `cpu` or `cuda`; `auto` is a CUDA GPU if torch finds one.

    Raises:
        InputError: `requested` is none of these, or it is `cuda` and torch finds no CUDA device. A
            fallback to the CPU would turn minutes into days without any sign of it.
    """
    if requested not in DEVICES:
        valid = ", ".join(DEVICES)
        raise InputError(f"device {requested!r} is not a valid device; the valid ones are {valid}")
    if requested == "cuda" and not torch.cuda.is_available():
        raise InputError(
            "device 'cuda': torch finds no CUDA device on this host; use a host with a GPU, or "
            "another device (auto, cpu)"
        )
    return torch.device("cuda" if requested != "cpu" and torch.cuda.is_available() else "cpu")


def device_name(device: torch.device) -> str:
    """The name of a CUDA device, or `cpu`."""
    return str(torch.cuda.get_device_name(device)) if device.type == "cuda" else device.type


def to_device(tensor: Tensor, device: torch.device) -> Tensor:
    """Copy a tensor from the host to `device`; the host does not wait for the copy to finish."""
    if device.type != "cuda":
        return tensor.to(device)
    return tensor.pin_memory().to(device, non_blocking=True)


def memory_format(device: torch.device, precision: str) -> torch.memory_format:
    """The memory layout of feature maps.

    On a CPU, channels-last was faster in every case measured (docs/gpu.md). On a GPU, tensor cores
    read bfloat16 in that layout; float32 has not been measured there.
    """
    channels_last = device.type == "cpu" or precision == "bfloat16"
    return torch.channels_last if channels_last else torch.contiguous_format


def autocast(device: torch.device, config: TrainingConfig) -> AbstractContextManager[object]:
    """A context in which encoder and decoder compute in the configured precision."""
    if config.precision == "float32":
        return nullcontext()
    return torch.autocast(device.type, dtype=torch.bfloat16)


@contextmanager
def full_precision() -> Iterator[None]:
    """Compute float32 in full precision on a GPU too.

    By default torch lets cuDNN convolutions round to TF32, with 10 bits of mantissa. cuDNN's
    benchmark mode, which picks the fastest convolution, stays on: without it training is slower and
    still not reproducible, because `index_add_` sums over codes in no fixed order.
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
    """Compute with `threads` CPU threads and in full precision; restore both settings afterwards.

    On a CPU the same input then gives the same bits: the number of threads decides in which order
    sums are taken, and the order decides the rounding.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        with full_precision():
            yield
    finally:
        torch.set_num_threads(before)
