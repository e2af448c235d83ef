"""Vector quantization: the mathematics first, the modules that keep its state below.

Definitions and equation numbers are those of van den Oord, Vinyals and Kavukcuoglu, "Neural
Discrete Representation Learning" (arXiv:1711.00937). In shapes, B is images, h and w the latent
grid, N = B h w vectors, D their dimension, K codes.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - the name the field gives it

from vqvae.config import ModelConfig
from vqvae.device import to_device

_MAX_DISTANCES = 2**22
"""16 MiB: large enough to keep a device busy, and nothing beside a batch's activations."""


def nearest_codes(vectors: Tensor, codebook: Tensor) -> Tensor:
    """The code nearest to each vector (eq. 1): argmin over k of |e_k|^2 - 2 z . e_k.

    |z|^2 is the same for all codes and left out. Distances are computed for some vectors at a
    time and thrown away, so that memory does not grow as N x K, except in an exported program,
    where a loop would fix the number of vectors.

    Args:
        vectors: [..., D].
        codebook: [K, D].

    Returns:
        [...] int64. Equally near codes: the first.
    """
    with torch.no_grad():
        norms = codebook.square().sum(1)
        flat = vectors.flatten(0, -2)
        rows = max(1, _MAX_DISTANCES // len(codebook))
        chunks = (flat,) if torch.compiler.is_exporting() else torch.split(flat, rows)
        found = [torch.addmm(norms, z, codebook.T, alpha=-2).argmin(1) for z in chunks]
        return torch.cat(found).reshape(vectors.shape[:-1])


def code_statistics(vectors: Tensor, indices: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """How many vectors chose each code, and the sum of those vectors.

    Args:
        vectors: [N, D].
        indices: [N].
        size: K.

    Returns:
        Counts [K] and sums [K, D], as `vectors`' dtype.
    """
    counts = vectors.new_zeros(size).index_add_(0, indices, vectors.new_ones(len(indices)))
    return counts, vectors.new_zeros(size, vectors.shape[1]).index_add_(0, indices, vectors)


def code_counts(indices: Tensor, size: int) -> Tensor:
    """How often each code was chosen: indices of any shape to [K] int64."""
    flat = indices.flatten()
    # Unlike bincount this does not make a GPU's host wait for the largest index.
    return torch.zeros(size, dtype=torch.int64, device=flat.device).index_add_(
        0, flat, torch.ones_like(flat)
    )


def straight_through(encoded: Tensor, quantized: Tensor) -> Tensor:
    """The value of `quantized` with the gradient of `encoded` (section 3.2)."""
    return encoded + (quantized - encoded).detach()


def sample_by_error(errors: Tensor, number: int, generator: torch.Generator) -> Tensor:
    """Draw positions, each in proportion to its error, with replacement.

    Args:
        errors: [N], not negative.
        number: how many to draw.
        generator: on the CPU, so that its state means the same on any device.

    Returns:
        [number] int64. All errors 0, or not numbers: positions that exist all the same.
    """
    reached = errors.double().cumsum(0)
    wanted = to_device(torch.rand(number, generator=generator, dtype=torch.float64), errors.device)
    return torch.searchsorted(reached, wanted * reached[-1]).clamp(max=len(errors) - 1)


def flatten_to_vectors(maps: Tensor) -> Tensor:
    """[B, D, h, w] to [N, D]: a vector is the channels of one place, not a row of pixels."""
    return maps.movedim(1, -1).flatten(0, -2)


def _channels_to_last_axis(maps: Tensor) -> Tensor:
    """[B, D, h, w] to [B, h, w, D], in the one layout that training and inference share."""
    return maps.movedim(1, -1).contiguous()


@dataclass(frozen=True)
class Quantized:
    """What quantizing gave."""

    values: Tensor
    """[B, D, h, w] float32: the chosen codes, with the encoder's gradient."""
    indices: Tensor
    """[B, h, w] int64."""
    codebook_loss: Tensor
    """Mean of (sg[z] - e)^2, the second term of eq. 3. With a running mean: only a figure."""
    commitment_loss: Tensor
    """Mean of (z - sg[e])^2, the third term of eq. 3 before beta."""


class EmaCodebook(nn.Module):
    """Code vectors that are running means of the vectors that chose them (appendix A.1)."""

    vectors: Tensor
    counts: Tensor
    sums: Tensor

    def __init__(self, size: int, dimension: int, decay: float) -> None:
        super().__init__()
        self.decay = decay
        self.register_buffer("vectors", torch.zeros(size, dimension))
        # A count that starts at 0 would make the vector of a code that nobody chose sums / 0:
        # thousands of times too long at once, and out of reach for good.
        self.register_buffer("counts", torch.ones(size))
        self.register_buffer("sums", torch.zeros(size, dimension))

    def update_(self, vectors: Tensor, indices: Tensor) -> None:
        """N_k = decay N_k + (1 - decay) n_k, m_k alike, e_k = m_k / N_k for the chosen codes."""
        counts, sums = code_statistics(vectors, indices, len(self.vectors))
        self.counts.lerp_(counts, 1 - self.decay)
        self.sums.lerp_(sums, 1 - self.decay)
        # A code that nobody chose stays: its quotient would be the same, until it is 0 / 0.
        chosen = (counts > 0)[:, None]
        self.vectors.copy_(torch.where(chosen, self.sums / self.counts[:, None], self.vectors))

    def replace_(self, which: Tensor, by: Tensor) -> None:
        """Move the codes where `which` [K] is true to the rows of `by` [K, D]."""
        self.vectors.copy_(torch.where(which[:, None], by, self.vectors))
        self.counts.masked_fill_(which, 1.0)
        self.sums.copy_(torch.where(which[:, None], by, self.sums))


class GradientCodebook(nn.Module):
    """Code vectors that follow the gradient of the codebook loss (eq. 3)."""

    def __init__(self, size: int, dimension: int) -> None:
        super().__init__()
        self.vectors = nn.Parameter(torch.zeros(size, dimension))

    def update_(self, vectors: Tensor, indices: Tensor) -> None:
        """Nothing: the optimizer has done it."""

    def replace_(self, which: Tensor, by: Tensor) -> None:
        """Move the codes where `which` [K] is true to the rows of `by` [K, D]."""
        self.vectors.data.copy_(torch.where(which[:, None], by, self.vectors.data))


def build_codebook(config: ModelConfig) -> EmaCodebook | GradientCodebook:
    """The codebook that the configuration names."""
    match config.codebook:
        case "ema":
            return EmaCodebook(config.codebook_size, config.code_dimension, config.decay)
        case "gradient":
            return GradientCodebook(config.codebook_size, config.code_dimension)


class Quantizer(nn.Module):
    """A codebook, and how long each of its codes has been idle."""

    idle: Tensor

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.codebook = build_codebook(config)
        self.dead_code_threshold_steps = config.dead_code_threshold_steps
        self.register_buffer("idle", torch.zeros(config.codebook_size, dtype=torch.int64))

    def forward(self, encoded: Tensor) -> Quantized:
        """Replace each vector of `encoded` [B, D, h, w] by its nearest code, in float32."""
        if torch.is_autocast_enabled(encoded.device.type):
            # Half precision overflows the loss and makes many codes equally near.
            with torch.autocast(encoded.device.type, enabled=False):
                return self._quantize(encoded.float())
        return self._quantize(encoded.float())

    def encode_indices(self, encoded: Tensor) -> Tensor:
        """The nearest code of each vector of `encoded` [B, D, h, w]: [B, h, w] int64."""
        return nearest_codes(_channels_to_last_axis(encoded.float()), self.codebook.vectors)

    def codes_to_vectors(self, indices: Tensor) -> Tensor:
        """Codes [B, h, w] to their vectors [B, D, h, w]."""
        return F.embedding(indices, self.codebook.vectors).movedim(-1, 1)

    @torch.no_grad()
    def init_codebook_(self, encoded: Tensor, generator: torch.Generator) -> None:
        """Put the codes on vectors of the first batch, [B, D, h, w], chosen at random.

        The first pass is over the differences between images, not over the distance between
        where the codes happen to lie and where the encoder happens to put its vectors.
        """
        vectors, size = flatten_to_vectors(encoded.float()), len(self.idle)
        order = torch.randperm(len(vectors), generator=generator)
        chosen = order[torch.arange(size) % len(order)].to(vectors.device)
        self.codebook.replace_(torch.ones_like(self.idle, dtype=torch.bool), vectors[chosen])

    @torch.no_grad()
    def update_(self, encoded: Tensor, indices: Tensor, generator: torch.Generator) -> None:
        """Follow a training batch: move the codes to it, and revive those that are never chosen.

        A code that no batch chose for `dead_code_threshold_steps` steps goes to a vector drawn in
        proportion to its distance from its code: where the codebook is thin, not where the images
        are mostly dark.

        Args:
            encoded: [B, D, h, w].
            indices: [B, h, w], the codes that were chosen.
            generator: where chance comes from; drawn on alike whether a code is idle or not.
        """
        vectors, flat = flatten_to_vectors(encoded.float()), indices.flatten()
        errors = (vectors - F.embedding(flat, self.codebook.vectors)).square().sum(1)
        self.codebook.update_(vectors, flat)
        self.idle.add_(1).masked_fill_(code_counts(flat, len(self.idle)) > 0, 0)
        if self.dead_code_threshold_steps:
            dead = self.idle >= self.dead_code_threshold_steps
            self.codebook.replace_(
                dead, vectors[sample_by_error(errors, len(self.idle), generator)]
            )
            self.idle.masked_fill_(dead, 0)

    def _quantize(self, encoded: Tensor) -> Quantized:
        vectors = _channels_to_last_axis(encoded)
        indices = nearest_codes(vectors, self.codebook.vectors)
        codes = F.embedding(indices, self.codebook.vectors)
        # With no gradient to carry, z + (e - z) would be e but for a rounding: scores of a
        # validation would differ in the last bits from those of the codes alone.
        carried = straight_through(vectors, codes) if torch.is_grad_enabled() else codes
        return Quantized(
            values=carried.movedim(-1, 1),
            indices=indices,
            codebook_loss=F.mse_loss(codes, vectors.detach()),
            commitment_loss=F.mse_loss(vectors, codes.detach()),
        )
