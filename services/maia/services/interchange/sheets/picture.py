"""A contact sheet as one PNG."""

from __future__ import annotations

import io
from typing import Final

from PIL import Image, ImageDraw, ImageFont

from maia.services.interchange.sheets.histogram import Histogram
from maia.services.interchange.sheets.sheet import SIDE, Card, Sheet, number
from maia.wire.pictures import Rgb

__all__ = ["sheet_png"]

_COLUMNS: Final = 5
_MARGIN: Final = 28
_GAP: Final = 16
_CAPTION: Final = 46
_LINE: Final = 20
_PLOT: Final = (420, 110)
"""Width and height of the histogram's bars."""

_PAPER: Final = (252, 251, 248)
_INK: Final = (29, 33, 38)
_SOFT: Final = (92, 98, 104)
_EMPTY: Final = (240, 238, 231)
_BARS: Final = (127, 166, 171)
_LINE_COLOUR: Final = (163, 50, 31)

Font = ImageFont.FreeTypeFont | ImageFont.ImageFont


def sheet_png(sheet: Sheet) -> bytes:
    """Return the file."""
    columns = _COLUMNS
    rows = -(-len(sheet.cards) // columns)
    card_height = 2 * SIDE + _GAP // 4 + _CAPTION
    head = 56 + max(_LINE * (len(sheet.facts) + len(sheet.notes)), _PLOT[1] + 2 * _LINE if sheet.histogram else 0)
    width = 2 * _MARGIN + columns * SIDE + (columns - 1) * _GAP
    height = 2 * _MARGIN + head + _GAP + rows * (card_height + _GAP)
    image = Image.new("RGB", (width, height), _PAPER)
    draw = ImageDraw.Draw(image)
    plot_left = width - _MARGIN - _PLOT[0]
    _head(draw, sheet, plot_left - _GAP if sheet.histogram else width - _MARGIN)
    if sheet.histogram is not None:
        _plot(draw, sheet.histogram, plot_left, _MARGIN + 56)
    for place, card in enumerate(sheet.cards):
        row, column = divmod(place, columns)
        left = _MARGIN + column * (SIDE + _GAP)
        _card(image, draw, card, left, _MARGIN + head + _GAP + row * (card_height + _GAP))
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


def _head(draw: ImageDraw.ImageDraw, sheet: Sheet, right: int) -> None:
    title = _font(26)
    draw.text((_MARGIN, _MARGIN), _cut(f"{sheet.model}  {sheet.unit}", title, right - _MARGIN), _INK, title)
    plain = _font(15)
    indent = 200
    top = _MARGIN + 56
    for name, value in sheet.facts:
        draw.text((_MARGIN, top), name, _SOFT, plain)
        draw.text((_MARGIN + indent, top), _cut(value, plain, right - _MARGIN - indent), _INK, plain)
        top += _LINE
    for note in sheet.notes:
        draw.text((_MARGIN, top), _cut(note, plain, right - _MARGIN), _LINE_COLOUR, plain)
        top += _LINE


def _plot(draw: ImageDraw.ImageDraw, histogram: Histogram, left: int, top: int) -> None:
    width, height = _PLOT
    bottom = top + height
    count = len(histogram.heights)
    for place, share in enumerate(histogram.heights):
        if share:
            start, stop = left + place * width // count, left + (place + 1) * width // count - 1
            draw.rectangle((start, bottom - max(1, round(share * height)), max(start, stop), bottom), _BARS)
    draw.line((left, bottom + 1, left + width, bottom + 1), _INK)
    plain = _font(13)
    low, high = number(histogram.low), number(histogram.high)
    draw.text((left, bottom + 5), low, _SOFT, plain)
    draw.text((left + width, bottom + 5), high, _SOFT, plain, anchor="ra")
    if histogram.threshold is not None:
        x = left + round(histogram.threshold * width)
        draw.line((x, top - 8, x, bottom), _LINE_COLOUR, 2)
        on_right = histogram.threshold > 0.5
        anchor = "rs" if on_right else "ls"
        draw.text((x + (-5 if on_right else 5), top - 1), "threshold", _LINE_COLOUR, plain, anchor=anchor)
    caption = "all values at all positions; heights are logarithms"
    draw.text((left + width // 2, bottom + 5 + _LINE), caption, _SOFT, plain, anchor="ma")


def _card(image: Image.Image, draw: ImageDraw.ImageDraw, card: Card, left: int, top: int) -> None:
    below = top + SIDE + _GAP // 4
    _paste(image, draw, card.original, left, top)
    _paste(image, draw, card.masked, left, below)
    strong, plain = _font(16), _font(13)
    caption = below + SIDE + 4
    draw.text((left, caption), f"{card.rank}.  {number(card.activation)}", _INK, strong)
    draw.text((left, caption + 21), _cut(card.title, plain, SIDE), _SOFT, plain)


def _paste(image: Image.Image, draw: ImageDraw.ImageDraw, rgb: Rgb, left: int, top: int) -> None:
    height, width = rgb.shape[:2]
    if (height, width) != (SIDE, SIDE):
        draw.rectangle((left, top, left + SIDE - 1, top + SIDE - 1), _EMPTY)
    image.paste(Image.fromarray(rgb, "RGB"), (left + (SIDE - width) // 2, top + (SIDE - height) // 2))


def _font(size: int) -> Font:
    return ImageFont.load_default(size)


def _cut(text: str, font: Font, width: float) -> str:
    """Return the text, or as much of it as fits, with an ellipsis; of a path the end says most."""
    if font.getlength(text) <= width:
        return text
    for start in range(1, len(text)):
        shorter = f"…{text[start:]}"
        if font.getlength(shorter) <= width:
            return shorter
    return "…"
