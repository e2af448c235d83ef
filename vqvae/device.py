"""Which device computes, and under which settings."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

import torch

from vqvae.config import TrainingConfig
from vqvae.errors import InputError


def choose_device(wanted: str) -> torch.device:
    """The device for `auto`, `cpu` or `cuda`.

    Raises:
        InputError: CUDA is asked for and there is none. Going on without would be a job of days
            that looks like one of minutes.
    """
    if wanted == "cuda" and not torch.cuda.is_available():
        raise InputError("training.device = 'cuda', but torch sees no CUDA device here")
    available = wanted == "cuda" or (wanted == "auto" and torch.cuda.is_available())
    return torch.device("cuda" if available else "cpu")


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
def repeatable(threads: int) -> Iterator[None]:
    """Compute so that the same input gives the same bits, on a CPU.

    The number of threads decides in which order sums are taken. On a GPU the choice of
    convolution is fixed too, but sums over codes stay in the order in which they come.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        with torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True):
            yield
    finally:
        torch.set_num_threads(before)
