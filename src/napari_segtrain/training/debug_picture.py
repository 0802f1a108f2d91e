"""A picture of a patch: the image, and ground truth and prediction of every output, a row each."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from napari_segtrain.targets import Head
from napari_segtrain.targets.colours import (
    class_colours,
    class_numbers,
    direction_colours,
    image_colours,
    number_colours,
    numbered_colours,
    scalar_limits,
)

if TYPE_CHECKING:
    from PIL.Image import Image

MOST_PLANES = 16
"""Planes of a volume in its animation; of thicker ones evenly spread planes are shown."""
_SECONDS_A_PLANE = 0.15
_OPACITY = 0.6
_GAP, _LINE, _TITLE, _FONT = 6, 18, 42, 12
_INK, _QUIET, _PAPER = (225, 225, 230), (150, 150, 160), (24, 24, 28)
_COLUMNS = ("image", "ground truth", "prediction")
_LEGEND = (
    "On the image: outlines of ground truth (colour), prediction (white).  Hatched: unlabelled, undefined."
)

Pixels = NDArray[np.uint8]


@dataclass(frozen=True)
class ShownHead:
    """One output in a patch.

    Attributes
    ----------
    head
        What is predicted.
    truth
        ``(C, *spatial)``, or class numbers ``(1, *spatial)``; anything where it is not known.
    valid
        ``(*spatial)`` bool, where the loss looks.
    prediction
        ``(C, *spatial)`` after the activation, in the target's own units.
    """

    head: Head
    truth: NDArray[Any]
    valid: NDArray[np.bool_]
    prediction: NDArray[Any]


@dataclass(frozen=True)
class DebugPatch:
    """What a debug picture shows.

    Attributes
    ----------
    image
        ``(C, *spatial)``, normalised.
    heads
        The outputs, in order.
    planes
        Of a volume: the number of each plane that is here and the number of all; empty for a plane.
    """

    image: NDArray[np.float32]
    heads: tuple[ShownHead, ...]
    planes: tuple[int, ...] = ()
    depth: int = 1


def planes_of(depth: int) -> list[int]:
    """Return the planes of a volume to show: all of them, or evenly spread ones, first and last included."""
    return sorted({round(z) for z in np.linspace(0, depth - 1, min(depth, MOST_PLANES))})


def render(patch: DebugPatch, title: str, spacing: Sequence[float]) -> bytes:
    """Draw a patch.

    Parameters
    ----------
    patch
        What to show.
    title
        The first line.
    spacing
        Size of a voxel in array order; voxels are drawn as high and wide as they are.

    Returns
    -------
    bytes
        A PNG file of a plane; of a volume a GIF file that goes through its planes.
    """
    grey, tables = image_colours(patch.image), class_colours(shown.head for shown in patch.heads)
    rows = [_panels(shown, grey, tables) for shown in patch.heads]
    size = _panel_size(patch.image.shape[-2:], spacing[-2:], len(rows))
    sheet, corners = _sheet([shown.head for shown in patch.heads], _notes(patch), size)
    takes = _nearest(patch.image.shape[-2:], size)
    file = io.BytesIO()
    if not patch.planes:
        pixels = np.asarray(_titled(sheet, title)).copy()
        _fill(pixels, corners, size, [panel[takes] for row in rows for panel in row])
        _image(pixels).save(file, "PNG")
        return file.getvalue()
    titles = [f"{title}   z {z + 1} of {patch.depth}" for z in patch.planes]
    frames = _frames(sheet, titles, [panel for row in rows for panel in row], corners, size, takes)
    first, *others = frames
    first.save(
        file,
        "GIF",
        save_all=True,
        append_images=others,
        duration=round(1000 * _SECONDS_A_PLANE),
        loop=0,
        optimize=False,
    )
    return file.getvalue()


# ----------------------------------------------------------------------------------------- colours


def _panels(shown: ShownHead, grey: Pixels, tables: dict[str, Pixels]) -> tuple[Pixels, ...]:
    """Return image, truth and prediction as colours ``(*spatial, 3)``."""
    head, valid = shown.head, shown.valid
    truth = np.where(valid, shown.truth, 0)
    if head.kind != "segmentation":
        drawn = [_measured(head, values, valid, truth) for values in (truth, shown.prediction)]
        return grey, _hatched(drawn[0], grey, valid), drawn[1]
    table = tables[head.name]
    numbers = class_numbers(truth), class_numbers(shown.prediction)
    marked = grey.copy()
    edges = [_outline(number) for number in numbers]
    marked[edges[1]] = 255
    # Where the labels end is no outline of anything.
    known = edges[0] & valid & ~_outline(valid.astype(np.int64))
    marked[known] = numbered_colours(numbers[0], table)[known]
    drawn = [_over(grey, number, table) for number in numbers]
    return marked, _hatched(drawn[0], grey, valid), drawn[1]


def _measured(head: Head, values: NDArray[Any], valid: NDArray[np.bool_], truth: NDArray[Any]) -> Pixels:
    """Return the colours of values, directions or tensors; values in the range that the truth has."""
    if head.kind == "scalar":
        return number_colours(np.nan_to_num(values[0]), scalar_limits(truth[0], valid))
    if head.unit:
        length = np.sqrt((values**2).sum(axis=0))
        values = np.divide(values, length, out=np.zeros_like(values), where=length > 0)
    elif head.kind == "vector":
        # Of vectors with a length the longest ones have full colours.
        values = values / max(float(np.sqrt((truth**2).sum(axis=0)).max()), 1e-6)
    return direction_colours(values, head.kind)


def _over(grey: Pixels, numbers: NDArray[np.int64], table: Pixels) -> Pixels:
    """Lay classes over the image; background is bare."""
    mixed = (1 - _OPACITY) * grey + _OPACITY * numbered_colours(numbers, table)
    return np.where((numbers > 0)[..., None], mixed, grey).astype(np.uint8)


def _outline(numbers: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Return the voxels of a class that touch another number in their plane."""
    edge = np.zeros(numbers.shape, bool)
    for axis in (numbers.ndim - 2, numbers.ndim - 1):
        before = tuple(slice(0, -1) if a == axis else slice(None) for a in range(numbers.ndim))
        after = tuple(slice(1, None) if a == axis else slice(None) for a in range(numbers.ndim))
        differ = numbers[before] != numbers[after]
        edge[before] |= differ
        edge[after] |= differ
    return edge & (numbers > 0)


def _hatched(colours: Pixels, grey: Pixels, valid: NDArray[np.bool_]) -> Pixels:
    """Show what is unlabelled as dark stripes over the image."""
    height, width = valid.shape[-2:]
    stripes = (np.add.outer(np.arange(height), np.arange(width)) % 6 < 2)[..., None]
    dim = (0.35 * grey + np.where(stripes, 60.0, 0.0)).astype(np.uint8)
    return np.where(valid[..., None], colours, dim)


def _notes(patch: DebugPatch) -> list[str]:
    """Return what the colours of each output mean, in short."""
    notes = []
    for shown in patch.heads:
        head = shown.head
        note = head.encoding.replace("_", " ")
        if not shown.valid.any():
            note += ", nothing labelled in this patch"
        elif head.kind == "scalar":
            low, high = scalar_limits(np.where(shown.valid, shown.truth, 0)[0], shown.valid)
            note += f", colours {low:.3g} to {high:.3g}"
        elif head.kind != "segmentation":
            axes = "y x" if shown.valid.ndim == 2 else "z y x"
            note += f", {'red green' if len(axes) == 3 else 'red green blue'} = {axes}"
        notes.append(note)
    return notes


# ------------------------------------------------------------------------------------------ layout


def _panel_size(shape: Sequence[int], spacing: Sequence[float], rows: int) -> tuple[int, int]:
    """Return height and width of a panel in pixels: smaller ones where there are many."""
    edge = 200 if rows <= 4 else 144 if rows <= 8 else 112
    extent = [n * step for n, step in zip(shape, spacing, strict=True)]
    height, width = (max(1, round(edge * length / max(extent))) for length in extent)
    return height, width


def _nearest(shape: Sequence[int], size: tuple[int, int]) -> tuple[Any, ...]:
    """Return the index that enlarges a plane to a panel."""
    y, x = (((np.arange(n) + 0.5) * old / n).astype(int) for n, old in zip(size, shape, strict=True))
    return np.ix_(y, x)


def _sheet(
    heads: Sequence[Head], notes: Sequence[str], size: tuple[int, int]
) -> tuple[Image, list[tuple[int, int]]]:
    """Return the page with everything but the panels, and the upper left corner of each panel."""
    from PIL import Image as Images

    height, width = size
    blocks = 1 if len(heads) <= 2 else 2 if len(heads) <= 12 else 3
    rows = math.ceil(len(heads) / blocks)
    cell = max(width, 90) + _GAP
    across = 3 * cell + 2 * _GAP
    sheet = Images.new(
        "RGB", (max(blocks * across, 560), _TITLE + _LINE + rows * (height + _LINE + _GAP)), _PAPER
    )
    pen = _pen(sheet)
    pen.text((_GAP, 22), _LEGEND, fill=_QUIET)
    corners = []
    for number, (head, note) in enumerate(zip(heads, notes, strict=True)):
        block, row = divmod(number, rows)
        left = _GAP + block * across
        top = _TITLE + _LINE + row * (height + _LINE + _GAP)
        if row == 0:
            for column, name in enumerate(_COLUMNS):
                pen.text((left + column * cell, _TITLE), name, fill=_QUIET)
        _write(pen, (left, top), f"{head.name}  ({note})", 3 * cell)
        corners += [(top + _LINE, left + column * cell) for column in range(3)]
    return sheet, corners


def _pen(sheet: Image) -> Any:
    from PIL import ImageDraw, ImageFont

    pen = ImageDraw.Draw(sheet)
    pen.font = ImageFont.load_default(_FONT)
    return pen


def _write(pen: Any, place: tuple[int, int], text: str, width: int) -> None:
    """Write a line, cut off where it is longer than its room."""
    # The font that is always there has the letters of Latin-1.
    text = text.encode("latin-1", "replace").decode("latin-1")
    if pen.textlength(text) > width:
        while text and pen.textlength(f"{text}...") > width:
            text = text[:-1]
        text += "..."
    pen.text(place, text, fill=_INK)


def _titled(sheet: Image, title: str) -> Image:
    sheet = sheet.copy()
    _write(_pen(sheet), (_GAP, 4), title, sheet.width - 2 * _GAP)
    return sheet


def _fill(
    pixels: NDArray[Any], corners: Sequence[tuple[int, int]], size: tuple[int, int], panels: Sequence[Any]
) -> None:
    for (top, left), panel in zip(corners, panels, strict=True):
        pixels[top : top + size[0], left : left + size[1]] = panel


def _image(pixels: Pixels) -> Image:
    from PIL import Image as Images

    return Images.fromarray(pixels)


# --------------------------------------------------------------------------------------- animation


def _frames(
    sheet: Image,
    titles: Sequence[str],
    panels: Sequence[Pixels],
    corners: Sequence[tuple[int, int]],
    size: tuple[int, int],
    takes: tuple[Any, ...],
) -> list[Image]:
    """Return a frame a plane, in one palette of 256 colours.

    Colours are looked up before the panels are enlarged: there are far fewer voxels than pixels.
    """
    blank = np.asarray(sheet)
    palette = _palette([*panels, blank])
    table = _lookup(palette)
    page, numbered = _numbers(blank, table), [_numbers(panel, table) for panel in panels]
    frames = []
    for plane, title in enumerate(titles):
        indices = page.copy()
        head = np.asarray(_titled(sheet.crop((0, 0, sheet.width, 20)), title))
        indices[:20] = _numbers(head, table)
        _fill(indices, corners, size, [panel[plane][takes] for panel in numbered])
        frame = _image(indices)
        frame.putpalette(palette.getpalette() or [])
        frames.append(frame)
    return frames


def _palette(pictures: Sequence[Pixels]) -> Image:
    """Choose 256 colours from a sample of all pixels."""
    sample = [flat[:: max(1, len(flat) // 2000)] for flat in (p.reshape(-1, 3) for p in pictures)]
    return _image(np.concatenate(sample)[None]).quantize(256)


def _lookup(palette: Image) -> Pixels:
    """Return the nearest colour of a palette for each of 32³ colours."""
    from PIL import Image as Images

    steps = np.arange(4, 256, 8, dtype=np.uint8)
    cube = np.stack(np.meshgrid(steps, steps, steps, indexing="ij"), axis=-1).reshape(1, -1, 3)
    return np.asarray(_image(cube).quantize(palette=palette, dither=Images.Dither.NONE)).ravel()


def _numbers(pixels: Pixels, table: Pixels) -> Pixels:
    red, green, blue = (pixels[..., channel].astype(np.uint16) >> 3 for channel in range(3))
    numbers: Pixels = table[(red << 10) | (green << 5) | blue]
    return numbers
