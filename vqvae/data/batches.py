"""Slices as shuffled batches of tensors, kept on the device if they fit.

Slices of a split can differ in shape. They are never padded to a common shape: all images of a
batch come from one group of equal shape, and the order of the batches mixes the groups.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from vqvae.data.splits import Split
from vqvae.device import to_device

_MAX_UINT16 = 65535
_MEMORY_FRACTION = 0.4
"""The share of the free GPU memory that a split may take."""
_SAMPLE = 256


@dataclass(frozen=True)
class Images:
    """The images of a split, in groups of equal shape, on the host or on the device."""

    host: tuple[np.ndarray, ...]
    """One array per group: uint16 [N, H, W], the scaled intensity times 65535; may be mapped from a
    file."""
    resident: tuple[Tensor, ...] | None
    """The same arrays on the device, as int16 with the same bits, because few operations support
    uint16 there. None if the images stay on the host."""
    device: torch.device
    """The device of the batches."""
    memory_format: torch.memory_format
    """The memory layout of the batches."""

    def __len__(self) -> int:
        return sum(len(group) for group in self.host)

    def select(self, group: int, positions: Tensor) -> Tensor:
        """Some images of one group, float32 [B, 1, H, W] in [0, 1], on the device.

        Args:
            group: the index of the group.
            positions: indices into the group, [B] int64, on the device if the images are resident,
                else on the host.
        """
        if self.resident is not None:
            bits = self.resident[group][positions]
            images = (bits.int() & _MAX_UINT16).float() / _MAX_UINT16
        else:
            values = self.host[group][positions.numpy()].astype(np.float32) / np.float32(
                _MAX_UINT16
            )
            images = to_device(torch.from_numpy(values), self.device)
        return images[:, None].contiguous(memory_format=self.memory_format)

    def in_order(self, size: int, every: int = 1) -> Iterator[Tensor]:
        """All images in batches of at most `size`, group after group; or each `every`-th one."""
        for group, images in enumerate(self.host):
            chosen = self._to_images_device(torch.arange(0, len(images), every))
            for positions in torch.split(chosen, size):
                yield self.select(group, positions)

    def shuffled(self, size: int, seed: int, epoch: int) -> Iterator[Tensor]:
        """The batches of an epoch, in an order that depends on `seed` and `epoch` alone.

        So an epoch that is repeated after an interruption is the same without any saved state.
        """
        for group, positions in self._plan(size, seed, epoch):
            yield self.select(group, positions)

    def steps(self, size: int) -> int:
        """The number of batches in an epoch."""
        return sum(-(-len(group) // size) for group in self.host)

    def sample(self) -> list[Tensor]:
        """A sample of a few hundred images at most, evenly spaced: one tensor per group."""
        step = max(1, len(self) // _SAMPLE)
        return [
            self.select(group, self._to_images_device(torch.arange(0, len(images), step)))
            for group, images in enumerate(self.host)
        ]

    def _to_images_device(self, positions: Tensor) -> Tensor:
        """Copy the positions of many batches at once: a copy per step would make each step wait."""
        return positions if self.resident is None else to_device(positions, self.device)

    def _plan(self, size: int, seed: int, epoch: int) -> list[tuple[int, Tensor]]:
        sequence = np.random.SeedSequence([seed, epoch])
        generator = torch.Generator().manual_seed(int(sequence.generate_state(1)[0]))
        batches = [
            (group, positions)
            for group, images in enumerate(self.host)
            for positions in torch.split(
                self._to_images_device(torch.randperm(len(images), generator=generator)), size
            )
        ]
        order = torch.randperm(len(batches), generator=generator).tolist()
        return [batches[index] for index in order]


def split_batch(images: Tensor, steps: int) -> Sequence[Tensor]:
    """Split a batch [B, ...] evenly into `steps` micro-batches; fewer if it has fewer images."""
    return torch.split(images, micro_batch_size(len(images), steps))


def micro_batch_size(batch: int, accumulation_steps: int) -> int:
    """The largest number of images in a micro-batch."""
    return max(1, -(-batch // accumulation_steps))


def open_images(
    split: Split,
    device: torch.device,
    memory_format: torch.memory_format,
    *,
    spare_memory: bool = False,
) -> Images:
    """Copy the images of a split to the device if it is a GPU with enough free memory.

    Args:
        split: the decoded split.
        device: the device of the batches.
        memory_format: the memory layout of the batches.
        spare_memory: leave the images on the host even if they would fit on the GPU.
    """
    host = tuple(group.images for group in split.groups)
    resident = None
    if device.type == "cuda" and not spare_memory and _fits(host, device):
        resident = tuple(
            torch.from_numpy(np.array(group).view(np.int16)).to(device) for group in host
        )
    return Images(host, resident, device, memory_format)


def _fits(host: tuple[np.ndarray, ...], device: torch.device) -> bool:
    # The rest is for the network, and for other workers that may share the GPU.
    free, _ = torch.cuda.mem_get_info(device)
    return sum(group.nbytes for group in host) < _MEMORY_FRACTION * free
