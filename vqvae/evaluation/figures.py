"""Figures: slices with their reconstructions, errors and scores, as small PNG files."""

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from vqvae.files import write_whole
from vqvae.text import printable

_SIDE, _GAP, _LINE, _MARGIN, _NARROWEST = 288, 12, 32, 100, 112  # pixels of the figure
_TITLE = 200  # characters of a title
_PAPER, _INK, _FAINT = (255, 255, 255), (20, 20, 20), (110, 110, 110)
_BAR = 96  # pixels: the height of the bar beside the errors
ERROR_SCALE = 0.2
"""The error with the darkest colour. It is the same in every figure, so figures can be compared."""
_PREVIEW, _STRIP = 256, 20  # pixels of the preview: the longer side of its images, and their names
_GREYS, _COLOURS = 48, 13
"""The levels of the figure's palette. Noise in more levels is not seen, and doubles the file."""
_ERROR_COLOURS = ((255, 255, 255), (254, 217, 118), (253, 141, 60), (227, 26, 28), (96, 0, 32))
"""Evenly spaced on the scale, from no error on; each is darker than the one before it."""


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
    """Write a PNG with a column for each pair: actual, reconstructed and the absolute error.

    The grey scale of all images is that of [0, 1]. All errors share one scale of colours, which a
    bar explains.

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
    _draw_bar(sheet, top + sum(heights[:2]) + 2 * _GAP + heights[2] // 2)
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
    """Write a PNG of one slice, its reconstruction and the absolute error, side by side."""
    images = _rows(pair)
    titles = (
        pair.title,
        f"reconstructed, SSIM {pair.ssim:.3f}",
        f"error, darkest from {ERROR_SCALE} on",
    )
    wide = max(images[0].width, 2 * _NARROWEST)
    sheet = Image.new("RGB", (3 * (wide + _GAP) + _GAP, images[0].height + _LINE + _GAP), _PAPER)
    draw = ImageDraw.Draw(sheet)
    for at, (image, title) in enumerate(zip(images, titles, strict=True)):
        left = _GAP + at * (wide + _GAP)
        draw.text((left, _GAP // 2), printable(title)[:_TITLE], fill=_INK, font=_font(13))
        sheet.paste(image, (left, _LINE))
    _write(path, sheet)


def write_preview(path: Path, pair: Pair) -> None:
    """Write a small PNG of one slice: actual, and reconstructed at its right, with their names.

    MLflow's image grid makes the longer side of each image 256 pixels. That is the height here if
    the slice is twice as high as wide, so that four of them fit into a row.
    """
    image = _grey(np.concatenate([pair.original, pair.made], axis=1), _PREVIEW)
    sheet = Image.new("RGB", (image.width, image.height + _STRIP), _PAPER)
    draw = ImageDraw.Draw(sheet)
    for left, name in ((0, "actual"), (image.width // 2, "reconstructed")):
        draw.text((left + 2, 0), name, fill=_INK, font=_font(13))
    sheet.paste(image, (0, _STRIP))
    _save(path, sheet)


def _rows(pair: Pair) -> list[Image.Image]:
    error = np.abs(pair.made - pair.original)
    return [_grey(pair.original), _grey(pair.made), _enlarged(Image.fromarray(_colours(error)))]


def _grey(values: NDArray[np.float32], side: int = _SIDE) -> Image.Image:
    return _enlarged(Image.fromarray(np.round(np.clip(values, 0, 1) * 255).astype(np.uint8)), side)


def _colours(error: NDArray[np.floating[Any]]) -> NDArray[np.uint8]:
    """The colours of absolute errors: [...] to uint8 [..., 3]."""
    levels = np.round(np.clip(error / ERROR_SCALE, 0, 1) * (_COLOURS - 1)) / (_COLOURS - 1)
    stops = np.linspace(0, 1, len(_ERROR_COLOURS))
    channels = [np.interp(levels, stops, channel) for channel in zip(*_ERROR_COLOURS, strict=True)]
    return np.stack(channels, -1).round().astype(np.uint8)


def _enlarged(image: Image.Image, side: int = _SIDE) -> Image.Image:
    """The image, enlarged by a whole number, so that the pixels stay visible as they are."""
    times = max(1, side // max(image.size))
    return image.resize((image.width * times, image.height * times), Image.Resampling.NEAREST)


def _name_rows(draw: ImageDraw.ImageDraw, top: int, heights: Sequence[int]) -> None:
    for name, height in zip(("actual", "reconstructed"), heights, strict=False):
        draw.multiline_text((_GAP, top + height // 2 - 8), name, fill=_FAINT, font=_font(12))
        top += height + _GAP


def _draw_bar(sheet: Image.Image, middle: int) -> None:
    """Draw the scale of the errors in the margin, around the height `middle`."""
    draw, top = ImageDraw.Draw(sheet), middle - _BAR // 2 + 8
    draw.text((_GAP, top - 24), "error", fill=_FAINT, font=_font(12))
    falling = np.linspace(ERROR_SCALE, 0, _BAR)[:, None].repeat(16, 1)
    sheet.paste(Image.fromarray(_colours(falling)), (_GAP, top))
    draw.rectangle((_GAP - 1, top - 1, _GAP + 16, top + _BAR), outline=_FAINT)
    for value, name in ((1.0, f"{ERROR_SCALE} or\nmore"), (0.5, f"{ERROR_SCALE / 2}"), (0.0, "0")):
        place = (_GAP + 22, top + (1 - value) * _BAR - 7)
        draw.multiline_text(place, name, fill=_FAINT, font=_font(12))


def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)


def _with_palette(sheet: Image.Image) -> Image.Image:
    """A figure of greys and colours of errors, with a palette: a third of the size."""
    greys = np.linspace(0, 255, _GREYS).round().astype(np.uint8)[:, None].repeat(3, 1)
    colours = _colours(np.linspace(0, ERROR_SCALE, _COLOURS))
    pixels = np.asarray(sheet)
    indices = np.round(pixels[..., 0] / 255 * (_GREYS - 1)).astype(np.uint8)
    for at, colour in enumerate(colours[1:]):  # the first one is white, a grey
        indices[(pixels == colour).all(-1)] = _GREYS + at
    image = Image.fromarray(indices, "P")
    image.putpalette(np.concatenate([greys, colours[1:]]).tobytes())
    return image


def _write(path: Path, sheet: Image.Image) -> None:
    _save(path, _with_palette(sheet))


def _save(path: Path, image: Image.Image) -> None:
    buffer = io.BytesIO()
    image.save(buffer, "PNG", optimize=True)
    write_whole(path, buffer.getvalue())
