"""Sheets of captioned panels: pictures that a person can open without the program."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from PIL.Image import Image

EDGE = 320
"""Pixels of a panel's picture along its longer edge."""
_MARGIN = 12
_TITLE, _LINE = 26, 16
"""Pixels of a title, and of a line of the note below it."""
_MOST_COLUMNS = 4
_INK, PAPER = (225, 225, 230), (24, 24, 28)


def scaled(picture: Image, spacing: Sequence[float]) -> Image:
    """Make a picture as large as a panel, with voxels as high and wide as they are."""
    from PIL import Image as Images

    y, x = spacing[-2:]
    height, width = picture.height * y, picture.width * x
    scale = EDGE / max(height, width)
    size = max(1, round(width * scale)), max(1, round(height * scale))
    return picture.resize(size, Images.Resampling.NEAREST)


def panel(
    picture: Image, title: str, note: str, bar: npt.NDArray[np.uint8] | None = None, lines: int = 1
) -> Image:
    """Return a picture with a title and a note of so many lines below, and a bar of colours beside it."""
    from PIL import Image as Images
    from PIL import ImageDraw

    made = Images.new("RGB", (EDGE, EDGE + _TITLE + lines * _LINE), PAPER)
    made.paste(picture, ((EDGE - picture.width) // 2, EDGE - picture.height))
    pen = ImageDraw.Draw(made)
    pen.text((2, EDGE + 6), title, fill=_INK)
    pen.text((2, EDGE + 24), note, fill=_INK)
    if bar is not None:
        made.paste(Images.fromarray(bar), (EDGE - bar.shape[1] - 2, EDGE + 26))
    return made


def write_sheet(panels: Sequence[Image], path: Path) -> None:
    """Write panels of one size side by side and below each other.

    Raises
    ------
    RunError
        When the file cannot be written.
    """
    from PIL import Image as Images

    from napari_segtrain.inference import failures_explained

    columns = min(len(panels), max(2, math.ceil(math.sqrt(len(panels)))), _MOST_COLUMNS)
    rows = -(-len(panels) // columns)
    width, height = panels[0].width + _MARGIN, panels[0].height + _MARGIN
    sheet = Images.new("RGB", (columns * width + _MARGIN, rows * height + _MARGIN), PAPER)
    for number, one in enumerate(panels):
        row, column = divmod(number, columns)
        sheet.paste(one, (_MARGIN + column * width, _MARGIN + row * height))
    with failures_explained(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        sheet.save(path)
