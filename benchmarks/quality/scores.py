"""Scores of a model or a codec on each slice of a split."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from benchmarks.quality.codecs import ImageCodec, compress, decompress
from benchmarks.quality.models import CODES, STRIDE, Model
from benchmarks.quality.vae import Vae
from vqvae.data.batches import Images
from vqvae.evaluation.evaluate import score
from vqvae.evaluation.metrics import codebook_usage, perplexity, ssim
from vqvae.evaluation.regions import BODY, regions
from vqvae.model.quantizer import code_counts
from vqvae.model.vqvae import crop, pad

BATCH = 16


@dataclass(frozen=True)
class Scores:
    """The scores of a split.

    Attributes:
        slices: by name, one value for each slice; NaN where a slice has no such score.
        whole: of the whole split, by name: perplexity and the share of codes used.
        bits_per_pixel: log2 K bits for each code, or the size of a codec's files.
    """

    slices: Mapping[str, list[float]]
    whole: Mapping[str, float]
    bits_per_pixel: float


@torch.inference_mode()
def score_model(model: Model, images: Images) -> Scores:
    """Score a model: images are decoded from the codes alone."""
    model.mode(training=False)
    columns: list[dict[str, Tensor]] = []
    counts = torch.zeros(CODES, dtype=torch.int64, device=images.device)
    bits, pixels = 0.0, 0
    for originals in images.in_order(BATCH):
        indices = model.encode(pad(originals, STRIDE))
        reconstructed = crop(model.decode(indices), *originals.shape[-2:])
        if isinstance(model, Vae):
            bits += model.bits(indices)
        else:
            bits += math.log2(CODES) * indices.numel()
            counts += code_counts(indices, CODES)
        pixels += originals.numel()
        columns.append(_scores(originals, reconstructed.clamp(0, 1)))
    if isinstance(model, Vae):
        whole = model.collapse(images)
    else:
        whole = {"perplexity": perplexity(counts), "codebook_usage": codebook_usage(counts)}
    return Scores(_joined(columns), whole, bits / pixels)


@torch.inference_mode()
def mean_ssim(model: Model, images: Images) -> float:
    """Return the mean SSIM of a split by the main protocol: quick enough to be asked often."""
    model.mode(training=False)
    scores = []
    for originals in images.in_order(BATCH):
        reconstructed = model.decode(model.encode(pad(originals, STRIDE)))
        scores.append(ssim(originals, crop(reconstructed, *originals.shape[-2:]).clamp(0, 1)))
    return float(torch.cat(scores).double().mean())


def score_codec(codec: ImageCodec, images: Images, rate: float, *, container: bool) -> Scores:
    """Score a codec at the largest files of at most `rate` bits a pixel, slice by slice."""
    columns: list[dict[str, Tensor]] = []
    size = pixels = 0
    for originals in (batch.cpu() for batch in images.in_order(1)):
        area = originals.numel()
        image = (originals[0, 0] * 255).round().to(torch.uint8).numpy()
        content = compress(codec, image, rate * area / 8, container=container)
        if content is None:
            reconstructed = originals.mean().expand_as(originals)
        else:
            reconstructed = decompress(content)
            size += len(content) if container else codec.payload(content)
        pixels += area
        columns.append(_scores(originals, reconstructed))
    return Scores(_joined(columns), {}, 8 * size / pixels)


def _scores(originals: Tensor, reconstructed: Tensor) -> dict[str, Tensor]:
    masks = regions(originals, [None] * len(originals))
    return score(originals, reconstructed, {BODY: masks[BODY]})


def _joined(columns: list[dict[str, Tensor]]) -> dict[str, list[float]]:
    return {
        name: torch.cat([column[name].double().cpu() for column in columns]).tolist()
        for name in columns[0]
    }
