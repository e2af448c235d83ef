"""Slices as batches of tensors: one shape a batch, shuffled, on the device where they fit.

Slices of a split can differ in shape. They are never padded to a common one; a batch takes its
images from one group of equal shape, and the order of the batches mixes the groups.
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
_SAMPLE = 256


@dataclass(frozen=True)
class Images:
    """A split's images, group by group: on the host as they were decoded, or on the device."""

    host: tuple[np.ndarray, ...]
    """A group each: uint16 [N, H, W], the intensity times 65535; may be mapped from a file."""
    resident: tuple[Tensor, ...] | None
    """The same on the device, as int16 bit patterns: few operations know uint16 there."""
    device: torch.device
    memory_format: torch.memory_format

    def __len__(self) -> int:
        return sum(len(group) for group in self.host)

    def select(self, group: int, positions: Tensor) -> Tensor:
        """Images of one group: `positions` [B] int64 to [B, 1, H, W] in [0, 1].

        `positions` lie where the images do: on the device if they are resident.
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

    def in_order(self, size: int) -> Iterator[Tensor]:
        """All images, `size` at most at a time, group after group."""
        for group, images in enumerate(self.host):
            for positions in torch.split(self._to_images_device(torch.arange(len(images))), size):
                yield self.select(group, positions)

    def shuffled(self, size: int, seed: int, epoch: int) -> Iterator[Tensor]:
        """An epoch's batches: an order that follows from `seed` and `epoch` alone.

        An epoch that is run again after an interruption therefore needs no state to be equal.
        """
        for group, positions in self._plan(size, seed, epoch):
            yield self.select(group, positions)

    def steps(self, size: int) -> int:
        """How many batches an epoch has."""
        return sum(-(-len(group) // size) for group in self.host)

    def sample(self) -> list[Tensor]:
        """Some images of each group, evenly spaced, some hundreds together at most."""
        step = max(1, len(self) // _SAMPLE)
        return [
            self.select(group, self._to_images_device(torch.arange(0, len(images), step)))
            for group, images in enumerate(self.host)
        ]

    def _to_images_device(self, positions: Tensor) -> Tensor:
        """Positions for many batches, sent at once: a copy each step would be a wait each step."""
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
        return [batches[at] for at in torch.randperm(len(batches), generator=generator).tolist()]


def split_batch(images: Tensor, steps: int) -> Sequence[Tensor]:
    """A batch [B, ...] as `steps` micro-batches, evenly; fewer if it has fewer images."""
    return torch.split(images, micro_batch_size(len(images), steps))


def micro_batch_size(batch: int, accumulation_steps: int) -> int:
    """How many images a micro-batch has at most."""
    return max(1, -(-batch // accumulation_steps))


def open_images(
    split: Split,
    device: torch.device,
    memory_format: torch.memory_format,
    *,
    spare_memory: bool = False,
) -> Images:
    """Put a split's images on the device, if that is a GPU with room, or leave them in place.

    `spare_memory` leaves them in place where they would fit, too.
    """
    host = tuple(group.images for group in split.groups)
    resident = None
    if device.type == "cuda" and not spare_memory and _fits(host, device):
        resident = tuple(
            torch.from_numpy(np.array(group).view(np.int16)).to(device) for group in host
        )
    return Images(host, resident, device, memory_format)


def _fits(host: tuple[np.ndarray, ...], device: torch.device) -> bool:
    # Other workers may share the GPU, and the network needs the rest.
    free, _ = torch.cuda.mem_get_info(device)
    return sum(group.nbytes for group in host) < _MEMORY_FRACTION * free
