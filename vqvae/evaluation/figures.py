"""Figures: originals with their reconstructions, differences and scores, as PNG."""

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from vqvae.files import write_whole
from vqvae.text import printable

_SIDE, _GAP, _LINE, _MARGIN, _NARROWEST = 288, 12, 32, 100, 112  # pixels of the figure
_TITLE = 200  # characters of a title
_PAPER, _INK, _FAINT = (255, 255, 255), (20, 20, 20), (110, 110, 110)


@dataclass(frozen=True)
class Pair:
    """An original and its reconstruction."""

    title: str
    """One or two lines."""
    original: NDArray[np.float32]
    """[H, W] in [0, 1]."""
    made: NDArray[np.float32]
    """The reconstruction, [H, W] in [0, 1]."""
    ssim: float


def write_comparison(path: Path, pairs: Sequence[Pair], heading: str = "") -> None:
    """Write a PNG with a column for each pair: original, reconstruction and difference.

    The absolute difference is multiplied by four; white is no difference.

    Args:
        path: the file; its folder is created if needed.
        pairs: at least one.
        heading: one line above the columns.
    """
    images = [_rows(pair) for pair in pairs]
    columns = [max(_NARROWEST, *(image.width for image in rows)) for rows in images]
    heights = [max(rows[at].height for rows in images) for at in range(3)]
    top = _LINE * 2 + 2 * _GAP
    size = (
        _MARGIN + sum(columns) + _GAP * len(columns),
        top + sum(heights) + _GAP * 3 + _LINE,
    )
    sheet = Image.new("RGB", size, _PAPER)
    draw = ImageDraw.Draw(sheet)
    draw.text((_GAP, _GAP // 2), heading, fill=_INK, font=_font(18))
    _name_rows(draw, top, heights)
    left = _MARGIN
    for pair, rows, width in zip(pairs, images, columns, strict=True):
        draw.multiline_text((left, _LINE), pair.title, fill=_FAINT, font=_font(13))
        above = top
        for image, height in zip(rows, heights, strict=True):
            sheet.paste(image, (left, above))
            above += height + _GAP
        draw.text((left, above), f"SSIM {pair.ssim:.3f}", fill=_INK, font=_font(16))
        left += width + _GAP
    _write(path, sheet)


def write_pair(path: Path, pair: Pair) -> None:
    """Write a PNG of one original, its reconstruction and their difference, side by side."""
    images = _rows(pair)
    titles = (pair.title, f"reconstructed, SSIM {pair.ssim:.3f}", "difference, 4 times")
    wide = max(images[0].width, 2 * _NARROWEST)
    sheet = Image.new("RGB", (3 * (wide + _GAP) + _GAP, images[0].height + _LINE + _GAP), _PAPER)
    draw = ImageDraw.Draw(sheet)
    for at, (image, title) in enumerate(zip(images, titles, strict=True)):
        left = _GAP + at * (wide + _GAP)
        draw.text((left, _GAP // 2), printable(title)[:_TITLE], fill=_INK, font=_font(13))
        sheet.paste(image, (left, _LINE))
    _write(path, sheet)


def _rows(pair: Pair) -> list[Image.Image]:
    difference = 1 - np.clip(4 * np.abs(pair.made - pair.original), 0, 1)
    return [_grey(values) for values in (pair.original, pair.made, difference)]


def _grey(values: NDArray[np.float32]) -> Image.Image:
    """A grey image, enlarged by a whole number, so that the pixels stay visible as they are."""
    image = Image.fromarray(np.round(np.clip(values, 0, 1) * 255).astype(np.uint8))
    times = max(1, _SIDE // max(image.size))
    return image.resize((image.width * times, image.height * times), Image.Resampling.NEAREST)


def _name_rows(draw: ImageDraw.ImageDraw, top: int, heights: Sequence[int]) -> None:
    names = ("original", "reconstructed", "difference,\n4 times")
    for name, height in zip(names, heights, strict=True):
        draw.multiline_text((_GAP, top + height // 2 - 8), name, fill=_FAINT, font=_font(12))
        top += height + _GAP


def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)


def _write(path: Path, sheet: Image.Image) -> None:
    buffer = io.BytesIO()
    sheet.save(buffer, "PNG")
    write_whole(path, buffer.getvalue())
