"""Networks and quantizers of other authors, written from their descriptions."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812


class Residual(nn.Module):
    """x + conv1x1(ReLU(conv3x3(ReLU(x))))."""

    def __init__(self, width: int, inner: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.ReLU(), nn.Conv2d(width, inner, 3, padding=1), nn.ReLU(), nn.Conv2d(inner, width, 1)
        )

    def forward(self, features: Tensor) -> Tensor:
        return features + self.body(features)  # type: ignore[no-any-return]


def classic_encoder(width: int, dimension: int) -> nn.Sequential:
    """The encoder of the small VQ-VAE of Sonnet's example: [B, 1, H, W] to [B, D, H/4, W/4]."""
    return nn.Sequential(
        *(nn.Conv2d(1, width // 2, 4, 2, 1), nn.ReLU()),
        *(nn.Conv2d(width // 2, width, 4, 2, 1), nn.ReLU()),
        nn.Conv2d(width, width, 3, padding=1),
        *(Residual(width, 32), Residual(width, 32), nn.ReLU()),
        nn.Conv2d(width, dimension, 1),
    )


def classic_decoder(width: int, dimension: int) -> nn.Sequential:
    """Its decoder: [B, D, h, w] to [B, 1, 4h, 4w]."""
    return nn.Sequential(
        nn.Conv2d(dimension, width, 3, padding=1),
        *(Residual(width, 32), Residual(width, 32), nn.ReLU()),
        *(nn.ConvTranspose2d(width, width // 2, 4, 2, 1), nn.ReLU()),
        nn.ConvTranspose2d(width // 2, 1, 4, 2, 1),
    )


class ClassicQuantizer(nn.Module):
    """The moving averages of the classic ports: counts start at 0, code vectors as normal noise.

    So an unused code has a vector some 10^5 times too long after the first step, and is never
    chosen again. No code is started from the data, and none is revived.
    """

    def __init__(self, codes: int, dimension: int, decay: float = 0.99) -> None:
        super().__init__()
        self.decay = decay
        self.register_buffer("vectors", torch.randn(codes, dimension))
        self.register_buffer("counts", torch.zeros(codes))
        self.register_buffer("sums", torch.randn(codes, dimension))

    def forward(self, encoded: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Quantize z [B, D, h, w]: the code vectors, the codes [B, h, w], the commitment loss."""
        last = encoded.movedim(1, -1)
        flat = last.reshape(-1, last.shape[-1])
        indices = torch.cdist(flat, self.vectors).argmin(1)
        chosen = self.vectors[indices].view_as(last)
        if self.training:
            self._update(flat.detach(), indices)
        commitment = F.mse_loss(last, chosen)
        straight = (last + (chosen - last).detach()).movedim(-1, 1)
        return straight, indices.view(last.shape[:-1]), commitment

    @torch.no_grad()
    def _update(self, flat: Tensor, indices: Tensor) -> None:
        codes = len(self.counts)
        counts = torch.bincount(indices, minlength=codes).to(flat.dtype)
        sums = torch.zeros_like(self.sums).index_add_(0, indices, flat)
        self.counts.mul_(self.decay).add_(counts, alpha=1 - self.decay)
        self.sums.mul_(self.decay).add_(sums, alpha=1 - self.decay)
        total = self.counts.sum()
        smoothed = (self.counts + 1e-5) / (total + codes * 1e-5) * total
        self.vectors.copy_(self.sums / smoothed[:, None])
