"""Fitting the statistics of codes (`CodePrior`) on the training split, after a training."""

import math
from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - the name the field gives it

from vqvae.config import Config
from vqvae.data.batches import Images, open_images
from vqvae.data.splits import open_split
from vqvae.device import choose_device, full_precision, memory_format
from vqvae.model.code_prior import (
    EMBEDDING,
    HIDDEN,
    LARGEST_CODEBOOK,
    NEIGHBOURS,
    RANK,
    CodePrior,
    contexts_at,
    padded,
    weights_of,
)
from vqvae.model.vqvae import VQVAE

_BATCH_SIZE = 1024
_ENCODED_AT_ONCE = 16
_MAX_STEPS, _MIN_STEPS = 4000, 30
_PASSES = 3
"""Every position is seen about so often, within the limits of the steps."""
_MAX_POSITIONS = 700_000
"""Of a large training split, slices are taken evenly until there are so many positions."""
_FEW_POSITIONS, _MAX_COPIES = 300_000, 24
"""A split with fewer positions is changed and encoded again, at most so often."""
_MAX_SHIFT = 7
"""Pixels along each axis. A shift gives other codes for the same anatomy."""
_GAMMA = (0.75, 1.3)
"""Every third copy is darker or brighter: its intensities have an exponent between these."""
_LEARNING_RATE, _WEIGHT_DECAY = 4e-3, 3e-2


class _Network(nn.Module):
    """The network of `CodePrior` with floats."""

    def __init__(self, vectors: Tensor) -> None:
        super().__init__()
        inputs, size = EMBEDDING * len(NEIGHBOURS), len(vectors)
        self.embedding = nn.Embedding(size + 1, EMBEDDING, _weight=_first_embedding(vectors))
        self.first, self.second = nn.Linear(inputs, HIDDEN), nn.Linear(HIDDEN, HIDDEN)
        self.rank = nn.Linear(HIDDEN, RANK)
        self.output = nn.Linear(RANK, size)
        nn.init.normal_(self.output.weight, std=0.05)

    def forward(self, contexts: Tensor) -> Tensor:
        """Contexts [N, 10] to the logarithm of each code's probability, up to a constant."""
        first = F.relu(self.first(self.embedding(contexts).flatten(1)))
        second = F.relu(self.second(first))
        return self.output(self.rank(second))  # type: ignore[no-any-return]

    def weights(self) -> CodePrior:
        floats = {
            "embedding": self.embedding.weight,
            "first": self.first.weight,
            "first_bias": self.first.bias,
            "second": self.second.weight,
            "second_bias": self.second.bias,
            "rank": self.rank.weight,
            "rank_bias": self.rank.bias,
            "output": self.output.weight,
            "output_bias": self.output.bias,
        }
        return weights_of({k: v.detach().double().cpu().numpy() for k, v in floats.items()})


def with_statistics(config: Config, model: VQVAE) -> VQVAE:
    """The model with the statistics of its codes; they are fitted unless it has them already.

    Args:
        config: names the data and the device.
        model: the model, in evaluation mode; it is changed, and stays where it is.
    """
    if model.code_prior is None:
        home, device = model.device, choose_device(config.training.device)
        train = open_images(
            open_split(config.data, "train"), device, memory_format(device, "float32")
        )
        with full_precision():
            model.code_prior = fit_code_prior(model.to(device), train)
        model.to(home)
    return model


def fit_code_prior(model: VQVAE, train: Images) -> CodePrior | None:
    """Fit the statistics of a trained model's codes; None for a codebook that is too large.

    It takes some seconds on a CPU. The result is integers, so it need not be the same everywhere:
    it is stored with the model.

    Args:
        model: the model, in evaluation mode, on the device of `train`.
        train: the training split.
    """
    size = model.codebook_size
    if size > LARGEST_CODEBOOK:
        return None
    contexts, codes = _examples(model, train)
    steps = int(np.clip(_PASSES * len(codes) / _BATCH_SIZE, _MIN_STEPS, _MAX_STEPS))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = _Network(model.quantizer.codebook.vectors.detach()).to(model.device)
        order = torch.randint(len(codes), (steps, _BATCH_SIZE))
    optimizer = torch.optim.AdamW(network.parameters(), weight_decay=_WEIGHT_DECAY)
    for step, chosen in enumerate(order):
        rate = _LEARNING_RATE * (1 + math.cos(math.pi * step / steps)) / 2
        for group in optimizer.param_groups:
            group["lr"] = rate
        loss = F.cross_entropy(network(contexts[chosen]), codes[chosen])
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    return network.weights()


def _first_embedding(vectors: Tensor) -> Tensor:
    """The code vectors along their main axes, [K + 1, 8]: near codes start with near embeddings.

    The last row, for a neighbour outside the slice, is 0.
    """
    centred = vectors - vectors.mean(0)
    _, _, axes = torch.linalg.svd(centred, full_matrices=False)
    main = centred @ axes[:EMBEDDING].T
    main = main / main.std().clamp(min=1e-6)
    return F.pad(main, (0, EMBEDDING - main.shape[1], 0, 1))


def _examples(model: VQVAE, train: Images) -> tuple[Tensor, Tensor]:
    """Contexts [N, 10] and codes [N] of the training split, on the model's device."""
    contexts, codes = [], []
    for batch in _copies(model, train):
        found = batch.cpu().numpy()
        border = padded(found, model.codebook_size)
        rows = [contexts_at(border, row, slice(0, found.shape[2])) for row in range(found.shape[1])]
        contexts.append(np.concatenate([row.reshape(-1, len(NEIGHBOURS)) for row in rows]))
        codes.append(found.transpose(1, 2, 0).ravel())
    return (
        torch.from_numpy(np.concatenate(contexts)).to(model.device),
        torch.from_numpy(np.concatenate(codes)).to(model.device),
    )


@torch.no_grad()
def _copies(model: VQVAE, train: Images) -> Iterator[Tensor]:
    """Yield codes [B, h, w] of the training split, and of changed copies of a small one."""
    positions = sum(count * _codes_in(model, shape) for count, *shape in map(np.shape, train.host))
    few = positions < _FEW_POSITIONS
    copies = min(_MAX_COPIES, 2 * _MAX_POSITIONS // positions) if few else 0
    every = max(1, round(positions / _MAX_POSITIONS))
    generator = np.random.default_rng(0)
    for copy in range(copies + 1):
        shift = generator.integers(-_MAX_SHIFT, _MAX_SHIFT + 1, 2) if copy else (0, 0)
        exponent = generator.uniform(*_GAMMA) if copy % 3 == 2 else 1.0
        for images in train.in_order(_ENCODED_AT_ONCE, every):
            changed = torch.roll(images, tuple(map(int, shift)), (2, 3)) ** exponent
            yield model.encode(changed.flip(2) if copy % 2 else changed)


def _codes_in(model: VQVAE, shape: Sequence[int]) -> int:
    """The number of codes of a slice of this shape, H and W."""
    return math.prod(-(-side // model.stride) for side in shape)
