"""Writing a package, after verifying that its programs agree with the model."""

import hashlib
import json
import re
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from vqvae.errors import InputError
from vqvae.export.package import EXAMPLE, MANIFEST, Manifest, Package, open_package
from vqvae.export.programs import programs_of
from vqvae.files import new_folder, write_whole
from vqvae.model import code_prior
from vqvae.model.vqvae import VQVAE
from vqvae.text import one_line

VERIFIED_SHAPES = ((1, 40, 36), (2, 33, 27), (7, 24, 20))
"""Batches that an export is verified with: images, rows, columns."""
_TOLERANCE = 1e-5
"""The largest difference of a pixel, in units of the range [0, 1]."""
_TIE = 1e-4
"""The largest relative difference of the distances to two codes that count as equally near."""

_ABOUT = """\
**A VQ-VAE of MR slices.**

It encodes a 2-D slice as a grid of codes, one of {codes} for each {stride} x {stride} pixels
({bits:.4g} bits per pixel), and decodes the slice from them.

**Input:** float32 `[B, 1, H, W]`, with any B, H and W. Each slice is scaled to [0, 1] by its own
intensities: `low` is the minimum of the slice, `high` its 99.9th percentile
(`numpy.percentile(slice, 99.9)`, linear interpolation), or its maximum if that percentile is not
above `low`. The input is `clip((slice - low) / (high - low), 0, 1)` in float32. A constant slice
becomes 0 everywhere.

**Output:** float32 of the same shape, in [0, 1]. `low + (high - low) * output` restores the
intensities, except for the brightest thousandth, which was clipped.

`encode.pt2` gives the codes, int64 `[B, ceil(H / {stride}), ceil(W / {stride})]`. `decode.pt2`
decodes them to images that must be cropped to `[..., :H, :W]`; they then equal the output of
`model.pt2` bit for bit on the same host.

**Limits:** the model was trained on slices of the data set `{data}` alone. Reconstructions of other
anatomy, sequences or orientations are worse. Structures that are rare in the training data may be
changed or lost without any sign of it. Not for diagnosis.
"""

_USE = """\
```python
import json, numpy as np, torch
model = torch.export.load("model.pt2").module()
pixels = np.asarray(json.load(open("example.json")), np.float32)[0, 0]  # or any slice, [H, W]
low, high = pixels.min(), np.percentile(pixels, 99.9).astype(np.float32)
scaled = np.clip((pixels - low) / (high - low), 0, 1)
made = low + (high - low) * model(torch.from_numpy(scaled)[None, None])[0, 0].numpy()
```
"""


def write_package(model: VQVAE, destination: Path, data: str) -> None:
    """Write the package of `model` at `destination`, atomically.

    Before that, the programs are read back from their files and compared with the model.

    Args:
        model: the trained model, on any device.
        destination: a folder that does not exist yet.
        data: the name of the data set that it was trained on, for its description.

    Raises:
        InputError: `destination` exists or cannot be written, or a program does not agree with the
            model.
    """
    with new_folder(destination) as folder:
        digests = {}
        for name, content in programs_of(model).items():
            write_whole(folder / name, content)
            digests[name] = hashlib.sha256(content).hexdigest()
        write_whole(folder / EXAMPLE, json.dumps(_example()).encode())
        prior = None if model.code_prior is None else model.code_prior.to_bytes()
        if prior is not None:
            write_whole(folder / code_prior.FILE, prior)
        manifest = _describe(model, digests, data, prior).model_dump_json(indent=2) + "\n"
        write_whole(folder / MANIFEST, manifest.encode())
        verify(model, open_package(folder), VERIFIED_SHAPES)


def verify(model: VQVAE, package: Package, shapes: Sequence[tuple[int, int, int]]) -> None:
    """Compare a package with the model that it was exported from, on random images.

    Args:
        model: the model; it is moved to the CPU.
        package: the package, opened on the CPU.
        shapes: images, rows and columns of the batches to compare.

    Raises:
        InputError: they differ; the message says what differs, and for which batch.
    """
    generator = torch.Generator().manual_seed(0)
    for number, height, width in shapes:
        images = torch.rand(number, 1, height, width, generator=generator)
        if reason := _difference(model.cpu().eval(), package, images):
            raise InputError(f"export failed for {number} images of {height}x{width}: {reason}")


@torch.inference_mode()
def _difference(model: VQVAE, package: Package, images: Tensor) -> str | None:
    height, width = images.shape[-2:]
    expected, codes = model.encode(images), package.encode(images)
    decoded = package.decode(codes, height, width)
    if not torch.equal(decoded, package.reconstruct(images)):
        return "decode.pt2 does not give, bit for bit, what model.pt2 gives"
    if expected.shape != codes.shape or not _equally_near(model, images, expected, codes):
        return "encode.pt2 chooses other codes than the model"
    error = float((decoded - model.decode(codes, height, width)).abs().max())
    return f"images differ from the model's by {error:g}" if not error <= _TOLERANCE else None


def _equally_near(model: VQVAE, images: Tensor, one: Tensor, other: Tensor) -> bool:
    """Whether codes differ only where two are equally near, so that rounding decides."""
    vectors = model.to_vectors(images)
    first, second = (
        (vectors - model.quantizer.codes_to_vectors(codes)).square().sum(1)
        for codes in (one, other)
    )
    return torch.allclose(first, second, rtol=_TIE, atol=_TIE * float(vectors.square().mean()))


def _describe(
    model: VQVAE, digests: dict[str, str], data: str, prior: bytes | None = None
) -> Manifest:
    config = model.config
    about = {
        "codes": config.codebook_size,
        "stride": config.stride,
        "bits": np.log2(config.codebook_size) / config.stride**2,
        "data": re.sub(r"[^\w .()-]", "_", one_line(data)),  # a folder's name must not be Markdown
    }
    return Manifest(
        programs=digests,
        model=config.model_dump(mode="json"),
        codebook_size=config.codebook_size,
        stride=config.stride,
        code_prior=None if prior is None else hashlib.sha256(prior).hexdigest(),
        requirements=[f"torch=={_public(torch.__version__)}", f"numpy=={version('numpy')}"],
        about=_ABOUT.format(**about),
        use=_USE,
    )


def _public(release: str) -> str:
    """A version without its build, such as `+cpu`."""
    return str(release).partition("+")[0]


def _example() -> list[object]:
    """Two synthetic images of a smooth bump, [2, 1, 24, 20] in [0, 1]."""
    rows, columns = np.mgrid[-1:1:24j, -1:1:20j]
    bumps = [[np.exp(-size * (rows**2 + columns**2))] for size in (2, 6)]
    batch: list[object] = np.round(bumps, 4).tolist()
    return batch
