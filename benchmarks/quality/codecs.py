"""Image codecs at a given rate: the best quality whose file is not larger than allowed."""

import io
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

Pixels = NDArray[np.uint8]


@dataclass(frozen=True)
class ImageCodec:
    """A codec.

    Attributes:
        name: for the table.
        encode: the file for an image and a setting; a larger setting gives a larger file.
        settings: the settings, in ascending order of file size.
        payload: how many bytes of a file are the compressed image, without its container.
    """

    name: str
    encode: Callable[[Pixels, float], bytes]
    settings: tuple[float, ...]
    payload: Callable[[bytes], int]
    has_container: bool = True


def compress(codec: ImageCodec, pixels: Pixels, limit: float, *, container: bool) -> bytes | None:
    """Return the largest file of at most `limit` bytes; None if even the smallest is larger.

    Args:
        codec: the codec.
        pixels: the image, [H, W].
        limit: the number of bytes.
        container: whether the file's container counts.
    """
    best, low, high = None, 0, len(codec.settings)
    while low < high:  # the size rises with the setting, but for a few bytes
        middle = (low + high) // 2
        content = codec.encode(pixels, codec.settings[middle])
        if (len(content) if container else codec.payload(content)) <= limit:
            best, low = content, middle + 1
        else:
            high = middle
    return best


def decompress(content: bytes) -> Tensor:
    """Return the image in a file, float32 [1, 1, H, W] in [0, 1]."""
    with Image.open(io.BytesIO(content)) as image:
        pixels = np.asarray(image.convert("L"), np.float32) / 255
    return torch.from_numpy(pixels)[None, None]


def available_codecs() -> list[ImageCodec]:
    """Return the codecs that are installed."""
    Image.init()
    found = [_JPEG2000, _WEBP, _AVIF]
    try:
        import pillow_jxl  # noqa: F401 (registers the format with Pillow)
    except ImportError:
        print("JPEG XL is left out: install pillow-jxl-plugin (the extra 'benchmarks')")
    else:
        found.append(_JPEG_XL)
    return found


def _saved(pixels: Pixels, kind: str, **options: Any) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, kind, **options)
    return file.getvalue()


def _jpeg2000(pixels: Pixels, rate: float) -> bytes:
    """`rate` is the size of the code stream in bits a pixel."""
    return _saved(
        pixels, "JPEG2000", quality_mode="rates", quality_layers=[8 / rate], irreversible=True
    )


def _after(marker: bytes) -> Callable[[bytes], int]:
    return lambda content: len(content) - max(content.find(marker), 0)


def _webp_payload(content: bytes) -> int:
    """The size of the chunk `VP8 `: RIFF, its size, WEBP, then chunks of a name and a size."""
    at = content.index(b"VP8 ", 12)
    return int.from_bytes(content[at + 4 : at + 8], "little")


def _avif_payload(content: bytes) -> int:
    """The size of the box `mdat`, which has the AV1 stream, without its 8 bytes of head."""
    at = 0
    while at < len(content):
        size = int.from_bytes(content[at : at + 4], "big") or len(content) - at
        if content[at + 4 : at + 8] == b"mdat":
            return size - 8
        at += size
    raise ValueError("no mdat in an AVIF file")


_JPEG2000 = ImageCodec(
    "JPEG 2000", _jpeg2000, tuple(np.arange(0.05, 2, 0.001).tolist()), _after(b"\xff\x4f\xff\x51")
)
_WEBP = ImageCodec(
    "WebP",
    lambda pixels, quality: _saved(pixels, "WEBP", quality=quality, method=6),
    tuple(np.arange(0, 100, 0.25).tolist()),
    _webp_payload,
)
_AVIF = ImageCodec(
    "AVIF",
    lambda pixels, quality: _saved(
        pixels, "AVIF", quality=int(quality), speed=0, subsampling="4:0:0", max_threads=1
    ),
    tuple(range(101)),
    _avif_payload,
)
_JPEG_XL = ImageCodec(
    "JPEG XL",
    lambda pixels, quality: _saved(
        pixels, "JXL", quality=quality, effort=9, use_container=False, lossless=False
    ),
    tuple(np.arange(0, 99, 0.1).tolist()),
    len,
    has_container=False,
)
