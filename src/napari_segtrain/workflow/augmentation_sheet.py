"""A picture of a patch and what augmentation makes of it, side by side."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from napari_segtrain.targets.colours import FOREGROUNDS, image_colours

from .sheet import EDGE, PAPER, panel, write_sheet

if TYPE_CHECKING:
    from PIL.Image import Image

    from .augmentation_preview import AugmentationPreview, AugmentedPatch

_DIM = 0.45
"""Brightness of what the loss of no target looks at."""
_CUT = 4
"""Pixels between the three planes of a volume."""
_LINE = 52
"""Letters that fit below a panel."""


def draw_augmentation(preview: AugmentationPreview, path: Path) -> None:
    """Draw the patch as it is and every draw, with outlines of the labels.

    All have the brightness range of the patch as it is. Of a volume three planes are drawn, through its
    middle: y-x, below it z-x, beside it y-z. What no loss looks at is dark.

    Parameters
    ----------
    preview
        What to draw.
    path
        The PNG file.

    Raises
    ------
    RunError
        When the file cannot be written.
    """
    image = preview.patches[0].image
    shown = image if len(image) == 3 else image[:1]
    low, high = (float(v) for v in np.percentile(shown, (0.5, 99.5)))
    colours = {
        name: FOREGROUNDS[number % len(FOREGROUNDS)] for number, name in enumerate(preview.patches[0].labels)
    }
    panels = []
    for number, patch in enumerate(preview.patches):
        picture = _picture(patch, preview.spacing, (low, high), colours)
        title = f"{preview.record} as it is" if number == 0 else f"augmented {number}"
        panels.append(panel(picture, title, _note(patch.words, list(colours), number == 0), lines=2))
    write_sheet(panels, path)


def _note(words: tuple[str, ...], targets: list[str], original: bool) -> str:
    text = f"outlines: {', '.join(targets)}" if original else "; ".join(words) or "nothing drawn"
    return "\n".join(textwrap.wrap(text, _LINE, max_lines=2, placeholder=" …"))


def _picture(
    patch: AugmentedPatch,
    spacing: tuple[float, ...],
    limits: tuple[float, float],
    colours: Mapping[str, tuple[int, int, int]],
) -> Image:
    """Return the plane, or the three middle planes of a volume, as large as a panel."""
    from PIL import Image as Images

    size = patch.image.shape[1:]
    extent = [n * s for n, s in zip(size, spacing, strict=True)]
    z = extent[0] if len(size) == 3 else 0.0
    y, x = extent[-2:]
    scale = (EDGE - _CUT * (len(size) - 2)) / max(y + z, x + z)
    every = slice(None)
    views: list[tuple[tuple[int | slice, ...], bool, tuple[float, float], tuple[float, float]]]
    if len(size) == 2:
        views = [((every, every), False, (y, x), (0, 0))]
    else:
        middle = [n // 2 for n in size]
        views = [
            ((middle[0], every, every), False, (y, x), (0, 0)),
            ((every, middle[1], every), False, (z, x), (y, 0)),
            ((every, every, middle[2]), True, (y, z), (0, x)),
        ]
    whole = Images.new("RGB", (EDGE, EDGE), PAPER)
    for where, turned, edges, corner in views:
        shape = tuple(max(1, round(edge * scale)) for edge in edges)
        top, left = (round(c * scale) + (_CUT if c else 0) for c in corner)
        plane = _plane(patch, where, shape, limits, colours, turned=turned)
        whole.paste(Images.fromarray(plane), (left, top))
    return whole


def _plane(
    patch: AugmentedPatch,
    where: tuple[int | slice, ...],
    shape: tuple[int, ...],
    limits: tuple[float, float],
    colours: Mapping[str, tuple[int, int, int]],
    *,
    turned: bool,
) -> npt.NDArray[np.uint8]:
    """Return one plane enlarged to `shape` pixels, with thin outlines; `turned`: rows as columns."""

    def view(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
        flat = _flat(array, where)
        return _enlarged(flat.T if turned else flat, shape)

    pixels = image_colours(np.stack([view(channel) for channel in patch.image]), limits)
    seen = np.any([view(mask) for mask in patch.masks.values()], axis=0)
    pixels = np.where(seen[..., np.newaxis], pixels, _DIM * pixels).astype(np.uint8)
    for name, colour in colours.items():
        labels = patch.labels[name]
        if labels.dtype.kind != "f":
            pixels[_outline(view(labels))] = colour
    return pixels


def _flat(array: npt.NDArray[Any], where: tuple[int | slice, ...]) -> npt.NDArray[Any]:
    """Return a plane of ``(*patch)``, or of the first channel of ``(C, *patch)``."""
    return np.asarray((array[0] if array.ndim > len(where) else array)[where])


def _enlarged(plane: npt.NDArray[Any], shape: tuple[int, ...]) -> npt.NDArray[Any]:
    """Return the nearest voxel of a plane for every pixel."""
    rows, columns = (
        ((np.arange(wanted) + 0.5) * given / wanted).astype(int)
        for given, wanted in zip(plane.shape, shape, strict=True)
    )
    return np.asarray(plane[rows][:, columns])


def _outline(labels: npt.NDArray[Any]) -> npt.NDArray[np.bool_]:
    """Return where labels change from one pixel to the next."""
    edge = np.zeros(labels.shape, bool)
    edge[1:] |= labels[1:] != labels[:-1]
    edge[:, 1:] |= labels[:, 1:] != labels[:, :-1]
    return edge
