"""Pictures of confusion matrices."""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from .confusion import ConfusionMatrix

if TYPE_CHECKING:
    from PIL.Image import Image

_INK, _QUIET, _PAPER, _DEEP = (30, 30, 36), (110, 110, 120), (255, 255, 255), (8, 69, 148)
_FONT, _SMALL, _GAP, _LINE = 13, 11, 16, 20
_MOST_LABELLED = 24
"""Classes up to which rows and columns have names."""


def draw_confusions(matrices: Mapping[str, ConfusionMatrix], title: str) -> bytes:
    """Draw confusion matrices side by side, each below its output's name.

    A cell's blue is the share of its row: what a true class was taken for. Percent and voxels stand in it
    where there is room.

    Parameters
    ----------
    matrices
        By the name of the output, at least one.
    title
        The first line.

    Returns
    -------
    bytes
        A PNG file.
    """
    from PIL import Image as Images

    panels = [_panel(name, matrix) for name, matrix in matrices.items()]
    width = max(sum(panel.width for panel in panels) + _GAP * (len(panels) + 1), 8 * len(title) + 2 * _GAP)
    sheet = Images.new("RGB", (width, max(p.height for p in panels) + _LINE + 2 * _GAP), _PAPER)
    _write(sheet, (_GAP, _GAP // 2), title, _FONT, _INK)
    left = _GAP
    for panel in panels:
        sheet.paste(panel, (left, _LINE + _GAP))
        left += panel.width + _GAP
    file = io.BytesIO()
    sheet.save(file, "PNG")
    return file.getvalue()


def _panel(name: str, matrix: ConfusionMatrix) -> Image:
    from PIL import Image as Images
    from PIL import ImageDraw

    size = len(matrix.classes)
    cell = 76 if size <= 6 else 54 if size <= 12 else 30 if size <= _MOST_LABELLED else max(4, 720 // size)
    labelled = size <= _MOST_LABELLED
    margin = _GAP + max(_width(text) for text in matrix.classes) if labelled else _GAP
    top = 3 * _LINE if labelled else 2 * _LINE
    made = Images.new(
        "RGB", (max(margin + size * cell, _width(name) + 8, 150), top + size * cell + 4), _PAPER
    )
    pen = ImageDraw.Draw(made)
    _write(made, (0, 0), name, _FONT, _INK)
    _write(made, (0, _LINE), "rows: true, columns: predicted", _SMALL, _QUIET)
    shares = matrix.shares
    for row, counts in enumerate(matrix.counts):
        y = top + row * cell
        if labelled:
            _write(made, (margin - _width(matrix.classes[row]) - 8, y + cell // 2 - 8), matrix.classes[row])
            centre = margin + row * cell + cell // 2 - _width(matrix.classes[row]) // 2
            _write(made, (centre, top - _LINE + 2), matrix.classes[row])
        for column, count in enumerate(counts):
            share, x = float(shares[row, column]), margin + column * cell
            blue = tuple(round(p + share * (d - p)) for p, d in zip(_PAPER, _DEEP, strict=True))
            pen.rectangle((x, y, x + cell - 2, y + cell - 2), fill=blue, outline=(205, 210, 220))
            ink = _PAPER if share > 0.55 else _INK
            if cell >= 30:
                _centred(made, (x, y), cell, f"{share:.1%}" if cell >= 54 else f"{100 * share:.0f}", -8, ink)
            if cell >= 54:
                _centred(made, (x, y), cell, short(count), 8, ink)
    return made


def short(count: int) -> str:
    """Return a count in few letters: ``"950"``, ``"12.3k"``, ``"4.56M"``."""
    for size, letter in ((10**9, "G"), (10**6, "M"), (10**4, "k")):
        if count >= size:
            return f"{count / (1000 if letter == 'k' else size):.3g}{letter}"
    return str(count)


def _centred(
    picture: Image, corner: tuple[int, int], cell: int, text: str, shift: int, ink: tuple[int, ...]
) -> None:
    place = corner[0] + (cell - _width(text)) // 2, corner[1] + cell // 2 - 8 + shift
    _write(picture, place, text, _SMALL, ink)


def _write(
    picture: Image,
    place: tuple[int, int],
    text: str,
    size: int = _SMALL,
    ink: tuple[int, ...] = _INK,
) -> None:
    from PIL import ImageDraw

    ImageDraw.Draw(picture).text(place, _latin(text), fill=ink, font=_font(size))


def _width(text: str) -> int:
    return round(float(_font(_SMALL).getlength(_latin(text))))


def _font(size: int) -> Any:
    from PIL import ImageFont

    return ImageFont.load_default(size)


def _latin(text: str) -> str:
    """Replace letters that the font, which is always there, does not have."""
    return text.encode("latin-1", "replace").decode("latin-1")
