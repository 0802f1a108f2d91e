"""A picture of all targets of a region, side by side."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from napari_segtrain.targets.colours import head_colours, image_colours, number_colours, scalar_limits

from .sheet import panel, scaled, write_sheet

if TYPE_CHECKING:
    from PIL.Image import Image

    from .target_preview import DerivedTarget, TargetPreview

_OPAQUE = 0.8
_ARROWS = 20
"""Arrows along the longer edge of a panel."""


def draw_overview(preview: TargetPreview, path: Path) -> None:
    """Draw the image and the target of every head, each in colours that suit it.

    Of a volume the plane is shown in which most is known. Numbers have a bar with their range, vectors and
    lines arrows as well as a colour for their direction. Where the loss does not look, the image is bare.

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
    from PIL import Image as Images

    plane = _fullest_plane(preview)
    pixels = image_colours(preview.image[:, plane] if plane is not None else preview.image)
    panels = [panel(scaled(Images.fromarray(pixels), preview.spacing), *_place(preview, plane))]
    panels += [_target_panel(target, plane, pixels, preview) for target in preview.targets]
    write_sheet(panels, path)


def _fullest_plane(preview: TargetPreview) -> int | None:
    """Return the index of the plane with most valid voxels; None for a plane."""
    if len(preview.region.shape) == 2:
        return None
    known = sum((t.valid.sum(axis=(1, 2), dtype=np.int64) for t in preview.targets), np.zeros(1, np.int64))
    return int(np.argmax(known)) if len(known) > 1 else preview.region.shape[0] // 2


def _place(preview: TargetPreview, plane: int | None) -> tuple[str, str]:
    bounds = zip(preview.region.start, preview.region.stop, strict=True)
    where = ", ".join(f"{a}:{b}" for a, b in bounds)
    return preview.region.record, where if plane is None else f"{where}; z {preview.region.start[0] + plane}"


def _target_panel(
    target: DerivedTarget, plane: int | None, pixels: npt.NDArray[np.uint8], preview: TargetPreview
) -> Image:
    from PIL import Image as Images

    values = target.values if plane is None else target.values[:, plane]
    valid = target.valid if plane is None else target.valid[plane]
    bar = None
    note = f"loss looks at {target.valid.mean():.1%}"
    if target.head.kind == "scalar":
        # One range for the volume, so that planes are comparable.
        limits = scalar_limits(target.values[0], target.valid)
        colours = _with_alpha(number_colours(values[0], limits), valid)
        bar = number_colours(np.broadcast_to(np.linspace(*limits, 80), (10, 80)), limits)
        note = f"{limits[0]:.3g} … {limits[1]:.3g}   {note}"
    elif target.head.kind in ("vector", "line", "tensor") and plane is not None:
        # Directions have three components in a plane of a volume too.
        volume = head_colours(
            target.head, target.values[:, plane : plane + 1], target.valid[plane : plane + 1]
        )
        colours = volume[0]
    else:
        colours = head_colours(target.head, values, valid)
    share = _OPAQUE * (colours[..., 3:] > 0)
    mixed = ((1 - share) * pixels + share * colours[..., :3]).astype(np.uint8)
    picture = scaled(Images.fromarray(mixed), preview.spacing)
    if target.head.kind in ("vector", "line"):
        _draw_arrows(picture, values[-2:], valid, preview.spacing[-2:], target.head.kind == "vector")
    return panel(picture, f"{target.head.name}  ({target.head.encoding.replace('_', ' ')})", note, bar)


def _with_alpha(colours: npt.NDArray[np.uint8], valid: npt.NDArray[np.bool_]) -> npt.NDArray[np.uint8]:
    return np.concatenate([colours, np.where(valid, 255, 0).astype(np.uint8)[..., None]], axis=-1)


def _draw_arrows(
    picture: Image,
    vectors: npt.NDArray[Any],
    valid: npt.NDArray[np.bool_],
    spacing: tuple[float, ...],
    heads: bool,
) -> None:
    """Draw vectors ``(2, y, x)`` on a picture of the plane, a dot at the foot where they have a head."""
    from PIL import ImageDraw

    pen = ImageDraw.Draw(picture)
    height, width = valid.shape
    stride = max(1, max(height, width) // _ARROWS)
    down, right = picture.height / height, picture.width / width
    reach = 0.45 * stride * min(down, right)
    for y in range(stride // 2, height, stride):
        for x in range(stride // 2, width, stride):
            if not valid[y, x]:
                continue
            dy, dx = (float(c) for c in vectors[:, y, x])
            length = math.hypot(dy, dx)
            if length == 0:
                continue
            shrink = reach * min(1.0, length) / length
            foot = ((x + 0.5) * right - dx * shrink, (y + 0.5) * down - dy * shrink)
            tip = ((x + 0.5) * right + dx * shrink, (y + 0.5) * down + dy * shrink)
            pen.line([foot, tip], fill=(255, 255, 255), width=1)
            if heads:
                pen.ellipse([foot[0] - 1.5, foot[1] - 1.5, foot[0] + 1.5, foot[1] + 1.5], fill=(0, 0, 0))
