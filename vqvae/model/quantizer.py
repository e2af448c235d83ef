"""Vector quantization: pure functions first, then the modules that hold the codebook's state.

Sections and equation numbers refer to van den Oord, Vinyals and Kavukcuoglu, "Neural Discrete
Representation Learning" (arXiv:1711.00937). z is an encoder vector, e_k the k-th code vector, e the
code vector nearest to z, and sg the stop-gradient operator. In shapes, B is the number of images,
h x w the latent grid, N = B h w the number of vectors, D their dimension, K the number of codes. A
code is an index k; e_k is its code vector.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - the name the field gives it

from vqvae.config import ModelConfig
from vqvae.device import to_device

_MAX_DISTANCES = 2**22
"""Distances computed at once: 16 MiB, enough to keep a device busy, little beside activations."""


def nearest_codes(vectors: Tensor, codebook: Tensor) -> Tensor:
    """The nearest code of each vector (eq. 1): argmin over k of |e_k|^2 - 2 z . e_k.

    |z - e_k|^2 without |z|^2, which is the same for all codes. Distances are computed for a chunk
    of vectors at a time, so that memory does not grow as N x K. An exported program uses a single
    chunk, because a loop would fix the number of vectors.

    Args:
        vectors: z, [..., D].
        codebook: the code vectors, [K, D].

    Returns:
        The codes, [...] int64, without gradient; of equally near codes the lowest.
    """
    with torch.no_grad():
        flat, norms = vectors.flatten(0, -2), codebook.square().sum(1)
        if torch.compiler.is_exporting():
            return _distances(norms, flat, codebook).argmin(1).reshape(vectors.shape[:-1])
        rows = max(1, _MAX_DISTANCES // len(codebook))
        # Both have their place before the loop. Small results between freed chunks would keep the
        # allocator from using that memory again, and the heap would grow as N x K after all.
        codes = torch.empty(len(flat), dtype=torch.int64, device=flat.device)
        buffer = flat.new_empty(min(rows, len(flat)), len(codebook))
        for z, into in zip(torch.split(flat, rows), torch.split(codes, rows), strict=True):
            torch.argmin(_distances(norms, z, codebook, out=buffer[: len(z)]), 1, out=into)
        return codes.reshape(vectors.shape[:-1])


def _distances(
    norms: Tensor, vectors: Tensor, codebook: Tensor, out: Tensor | None = None
) -> Tensor:
    """|e_k|^2 - 2 z . e_k, [N, K]; `norms` [K] are the |e_k|^2, `out` [N, K] takes the result."""
    return torch.addmm(norms, vectors, codebook.T, alpha=-2, out=out)


def code_statistics(vectors: Tensor, indices: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """Of each of K = `size` codes: the number of vectors [N, D] that chose it, and their sum.

    `indices` [N] int64 are the codes of the vectors. Returns counts [K] and sums [K, D].
    """
    counts = vectors.new_zeros(size).index_add_(0, indices, vectors.new_ones(len(indices)))
    return counts, vectors.new_zeros(size, vectors.shape[1]).index_add_(0, indices, vectors)


def code_counts(indices: Tensor, size: int) -> Tensor:
    """How often each of K = `size` codes was chosen: codes of any shape to counts [K] int64."""
    flat = indices.flatten()
    # torch.bincount would make the host wait for the GPU, to learn the largest index.
    return torch.zeros(size, dtype=torch.int64, device=flat.device).index_add_(
        0, flat, torch.ones_like(flat)
    )


def straight_through(encoded: Tensor, quantized: Tensor) -> Tensor:
    """The straight-through estimator (section 3.2), z + sg[e - z]: value of e, gradient of z."""
    return encoded + (quantized - encoded).detach()


def sample_by_error(errors: Tensor, number: int, generator: torch.Generator) -> Tensor:
    """Sample indices with probability proportional to their errors, with replacement.

    Args:
        errors: [N], not negative.
        number: how many samples.
        generator: a generator on the CPU, so that its state is valid for any device.

    Returns:
        Indices into `errors`, [number] int64; valid ones even if all errors are 0 or NaN.
    """
    cumulative = errors.double().cumsum(0)
    uniform = to_device(torch.rand(number, generator=generator, dtype=torch.float64), errors.device)
    return torch.searchsorted(cumulative, uniform * cumulative[-1]).clamp(max=len(errors) - 1)


def flatten_to_vectors(maps: Tensor) -> Tensor:
    """Feature maps [B, D, h, w] to vectors [N, D], one per grid position."""
    return maps.movedim(1, -1).flatten(0, -2)


def _channels_to_last_axis(maps: Tensor) -> Tensor:
    """[B, D, h, w] to [B, h, w, D], in the same memory layout in training and in inference."""
    return maps.movedim(1, -1).contiguous()


@dataclass(frozen=True)
class Quantized:
    """The result of quantizing a batch."""

    values: Tensor
    """[B, D, h, w] float32: the chosen code vectors, with the straight-through gradient."""
    indices: Tensor
    """The chosen codes, [B, h, w] int64."""
    codebook_loss: Tensor
    """Mean of (sg[z] - e)^2: the second term of eq. 3. For an EMA codebook only a metric."""
    commitment_loss: Tensor
    """Mean of (z - sg[e])^2: the third term of eq. 3 without its factor beta."""


class EmaCodebook(nn.Module):
    """Code vectors that are exponential moving averages of their encoder vectors (appendix A.1).

    With n_k the number of vectors z in a batch that chose code k, each step does:

        N_k = decay N_k + (1 - decay) n_k
        m_k = decay m_k + (1 - decay) (sum of these z)
        e_k = m_k / N_k
    """

    has_gradient = False
    """Whether the loss must contain the codebook loss."""
    vectors: Tensor  # e, [K, D]
    counts: Tensor  # N, [K]
    sums: Tensor  # m, [K, D]

    def __init__(self, size: int, dimension: int, decay: float) -> None:
        super().__init__()
        self.decay = decay
        self.register_buffer("vectors", torch.zeros(size, dimension))
        # N starts at 1, because m_k / N_k with N_k near 0 would be too far away to be ever chosen.
        self.register_buffer("counts", torch.ones(size))
        self.register_buffer("sums", torch.zeros(size, dimension))

    def update_(self, vectors: Tensor, indices: Tensor) -> None:
        """Apply the equations above to a batch, in place: z [N, D], and its codes [N] int64."""
        counts, sums = code_statistics(vectors, indices, len(self.vectors))
        self.counts.lerp_(counts, 1 - self.decay)
        self.sums.lerp_(sums, 1 - self.decay)
        # Codes that no vector chose stay: m_k / N_k does not change until both underflow (0 / 0).
        chosen = (counts > 0)[:, None]
        self.vectors.copy_(torch.where(chosen, self.sums / self.counts[:, None], self.vectors))

    def replace_(self, which: Tensor, by: Tensor) -> None:
        """Replace e_k by row k of `by` [K, D] wherever `which` [K] bool is true, in place."""
        self.vectors.copy_(torch.where(which[:, None], by, self.vectors))
        self.counts.masked_fill_(which, 1.0)
        self.sums.copy_(torch.where(which[:, None], by, self.sums))


class GradientCodebook(nn.Module):
    """Code vectors that are trained by the gradient of the codebook loss (eq. 3)."""

    has_gradient = True

    def __init__(self, size: int, dimension: int) -> None:
        super().__init__()
        self.vectors = nn.Parameter(torch.zeros(size, dimension))

    def update_(self, vectors: Tensor, indices: Tensor) -> None:
        """Do nothing: the optimizer updates the vectors."""

    def replace_(self, which: Tensor, by: Tensor) -> None:
        """Replace e_k by row k of `by` [K, D] wherever `which` [K] bool is true, in place."""
        self.vectors.data.copy_(torch.where(which[:, None], by, self.vectors.data))


def build_codebook(config: ModelConfig) -> EmaCodebook | GradientCodebook:
    """The codebook that the configuration names."""
    match config.codebook:
        case "ema":
            return EmaCodebook(config.codebook_size, config.code_dimension, config.decay)
        case "gradient":
            return GradientCodebook(config.codebook_size, config.code_dimension)


class Quantizer(nn.Module):
    """A codebook with the replacement of its dead codes.

    `forward` changes no state. A training loop calls `init_codebook_` before the first step, and
    `update_` after each step.
    """

    idle: Tensor  # training steps since each code was last chosen, [K] int64

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.codebook = build_codebook(config)
        self.dead_code_threshold_steps = config.dead_code_threshold_steps
        self.register_buffer("idle", torch.zeros(config.codebook_size, dtype=torch.int64))

    def forward(self, encoded: Tensor) -> Quantized:
        """Replace each vector of `encoded` [B, D, h, w] by its nearest code vector, in float32."""
        if torch.is_autocast_enabled(encoded.device.type):
            # In half precision the losses could overflow, and many codes would be equally near.
            with torch.autocast(encoded.device.type, enabled=False):
                return self._quantize(encoded.float())
        return self._quantize(encoded.float())

    def encode_indices(self, encoded: Tensor) -> Tensor:
        """The nearest code of each vector of `encoded` [B, D, h, w], as [B, h, w] int64."""
        return nearest_codes(_channels_to_last_axis(encoded.float()), self.codebook.vectors)

    def codes_to_vectors(self, indices: Tensor) -> Tensor:
        """Codes [B, h, w] to their code vectors [B, D, h, w]."""
        return F.embedding(indices, self.codebook.vectors).movedim(-1, 1)

    @torch.no_grad()
    def init_codebook_(self, encoded: Tensor, generator: torch.Generator) -> None:
        """Set the code vectors to random encoder vectors of the first batch [B, D, h, w], in place.

        With code vectors elsewhere, the first epoch would mainly move encoder and codes together,
        and learn little about the images. If N < K, vectors are used repeatedly.
        """
        vectors, size = flatten_to_vectors(encoded.float()), len(self.idle)
        order = torch.randperm(len(vectors), generator=generator)
        chosen = order[torch.arange(size) % len(order)].to(vectors.device)
        self.codebook.replace_(torch.ones_like(self.idle, dtype=torch.bool), vectors[chosen])

    @torch.no_grad()
    def update_(self, encoded: Tensor, indices: Tensor, generator: torch.Generator) -> None:
        """Update the codebook with a training batch, in place, and replace dead codes.

        A code is dead if no vector chose it in `dead_code_threshold_steps` steps. It moves to an
        encoder vector of this batch, sampled with probability proportional to its error |z - e|^2:
        to where the codebook is sparse. A uniform sample would mostly be dark background.

        Args:
            encoded: z, [B, D, h, w].
            indices: the chosen codes, [B, h, w] int64.
            generator: on the CPU. Each step takes K samples, whether a code is dead or not.
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
        # z + (e - z) differs from e by rounding. Without gradients e itself is used, so that
        # validation scores exactly what the codes alone decode to.
        values = straight_through(vectors, codes) if torch.is_grad_enabled() else codes
        return Quantized(
            values=values.movedim(-1, 1),
            indices=indices,
            codebook_loss=F.mse_loss(codes, vectors.detach()),
            commitment_loss=F.mse_loss(vectors, codes.detach()),
        )
