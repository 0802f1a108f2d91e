"""Two small data sets that need no download: photographed coins (2D), generated tubes and blobs (3D)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

_STROKED_COINS = (1, 3, 5, 8, 10, 13, 15, 17, 19, 20)
"""Which of the 24 coins got strokes; the rest is for the network to find."""

_PAINTED_COINS = (3, 10, 17, 20)
"""Those that are painted whole, with the ground around them: a distance can only be learned from a border."""


@dataclass(frozen=True)
class Sample:
    """An image that can be trained on as it is.

    Attributes
    ----------
    name
        Name of the image.
    image
        Grey values, ((z,) y, x) uint8.
    labels
        What is painted, by target name, ((z,) y, x) of whole numbers.
    targets
        Settings of each target, as `TargetConfig` takes them.
    truth
        Complete instance labels by name, ((z,) y, x) int32, 0 is background. For scores, not for training.
    spacing
        Size of a voxel along each axis, in `unit`.
    unit
        Physical unit of the spacing.
    """

    name: str
    image: npt.NDArray[np.uint8]
    labels: dict[str, npt.NDArray[Any]]
    targets: dict[str, dict[str, Any]]
    truth: dict[str, npt.NDArray[np.int32]] = field(default_factory=dict)
    spacing: tuple[float, ...] = ()
    unit: str = "pixel"


def coins() -> Sample:
    """Return scikit-image's coins with sparse scribbles: 0 unlabelled, 1 background, 2 coin.

    The image, 303 × 384 pixels of 24 Greek coins from Pompeii (Brooklyn Museum), lies in scikit-image's
    wheel. Four coins are painted whole, six have strokes, and so has the ground between all of them.
    """
    from skimage import data

    image = np.asarray(data.coins(), dtype=np.uint8)
    truth = coin_instances(image)
    return Sample(
        name="coins",
        image=image,
        labels={"foreground": _scribble(truth)},
        targets={"foreground": {"kind": "binary", "unlabelled": 0}},
        truth={"foreground": truth},
        spacing=(1.0, 1.0),
    )


def coin_instances(image: npt.NDArray[np.uint8]) -> npt.NDArray[np.int32]:
    """Return a number for every pixel of a coin, 0 elsewhere.

    A watershed of the gradient from safe seeds (darker than 30 is ground, brighter than 150 is coin),
    holes filled, specks removed, and the convex hull of what is left, since coins are convex.
    """
    from scipy import ndimage
    from skimage.filters import sobel
    from skimage.measure import label, regionprops
    from skimage.morphology import disk
    from skimage.segmentation import watershed

    seeds = np.zeros(image.shape, np.int32)
    seeds[image < 30] = 1
    seeds[image > 150] = 2
    coin = watershed(sobel(image), seeds) == 2
    coin = ndimage.binary_opening(ndimage.binary_fill_holes(coin), disk(3))
    found = np.zeros(image.shape, np.int32)
    for number, region in enumerate(regionprops(label(coin)), start=1):
        found[region.slice][region.image_convex] = number
    return found


def _scribble(truth: npt.NDArray[np.int32]) -> npt.NDArray[np.uint8]:
    """Paint what a hurried person would: strokes in some coins, around them, and across the ground."""
    from scipy import ndimage

    rng = np.random.default_rng(7)
    scribbles = np.zeros(truth.shape, np.uint8)
    outside = ndimage.distance_transform_edt(truth == 0)
    for number in _STROKED_COINS:
        coin = truth == number
        inside = ndimage.distance_transform_edt(coin)
        around = ndimage.distance_transform_edt(~coin)
        if number in _PAINTED_COINS:
            scribbles[coin] = 2
            scribbles[(around <= 6.0) & (truth == 0)] = 1
            continue
        start = rng.uniform(-np.pi, np.pi)
        arc = _sector(coin, start, 2.2)
        scribbles[arc & (inside > 2.5) & (inside < 5.0)] = 2
        scribbles[_spoke(coin, start - 1.0) & (inside > 3.0)] = 2
        scribbles[arc & (around > 2.5) & (around < 5.0) & (outside > 2.0)] = 1
    for row, width in ((12, 330), (90, 340), (157, 330), (225, 345), (296, 330)):
        _stroke_between(scribbles, outside, row, width)
    for column in (5, 379):
        scribbles[20:290, column : column + 2][outside[20:290, column : column + 2] > 2.0] = 1
    return scribbles


def _sector(coin: npt.NDArray[np.bool_], start: float, width: float) -> npt.NDArray[np.bool_]:
    rows, columns = np.nonzero(coin)
    y, x = np.indices(coin.shape)
    angle = np.arctan2(y - rows.mean(), x - columns.mean())
    return np.asarray(np.mod(angle - start, 2 * np.pi) < width)


def _spoke(coin: npt.NDArray[np.bool_], angle: float) -> npt.NDArray[np.bool_]:
    """Return a straight stroke, three pixels wide, from the centre outwards."""
    rows, columns = np.nonzero(coin)
    y, x = np.indices(coin.shape) - np.array([rows.mean(), columns.mean()])[:, None, None]
    along, across = y * np.sin(angle) + x * np.cos(angle), y * np.cos(angle) - x * np.sin(angle)
    return np.asarray(coin & (along > 0) & (np.abs(across) <= 1.5))


def _stroke_between(
    scribbles: npt.NDArray[np.uint8], outside: npt.NDArray[Any], row: int, width: int
) -> None:
    x = np.arange(15, 15 + width)
    y = np.rint(row + 3.0 * np.sin(x / 23.0)).astype(int)
    for offset in (-1, 0, 1):
        line = np.clip(y + offset, 0, scribbles.shape[0] - 1)
        free = outside[line, x] > 4.0
        scribbles[line[free], x[free]] = 1


def tubes_and_blobs(
    shape: tuple[int, int, int] = (48, 128, 128), *, blobs: int = 60, tubes: int = 5, seed: int = 0
) -> Sample:
    """Return a generated volume of textured blobs and bright winding tubes, with a number for each object.

    Parameters
    ----------
    shape
        Voxels, z, y, x. Voxels are twice as deep as wide, as in most microscopes.
    blobs, tubes
        How many objects to place; a blob that finds no room is left out.
    seed
        The same seed gives the same volume.
    """
    spacing = (2.0, 1.0, 1.0)
    rng = np.random.default_rng(seed)
    tube_ids = _grow_tubes(shape, spacing, tubes, rng)
    blob_ids = _place_blobs(shape, spacing, blobs, tube_ids > 0, rng)
    return Sample(
        name="volume",
        image=_photograph(tube_ids, blob_ids, rng),
        labels={"blobs": blob_ids, "tubes": tube_ids},
        targets={"blobs": {"kind": "instances"}, "tubes": {"kind": "binary"}},
        truth={"blobs": blob_ids, "tubes": tube_ids},
        spacing=spacing,
        unit="micrometer",
    )


def _grow_tubes(
    shape: tuple[int, ...], spacing: tuple[float, ...], count: int, rng: np.random.Generator
) -> npt.NDArray[np.int32]:
    """Let tubes of 3 µm radius wander through the volume, as smooth random walks."""
    from scipy import ndimage

    extent = np.array(shape) * spacing
    lines = np.zeros(shape, np.int32)
    for number in range(1, count + 1):
        position = extent * (0.15 + 0.7 * (number - 0.5) / count, rng.uniform(0.1, 0.9), 0.0)
        direction = np.array([0.0, 0.0, 1.0])
        for _ in range(int(3 * extent.max())):
            direction += rng.normal(0.0, 0.09, 3) * (0.5, 1.0, 0.3)
            direction /= np.linalg.norm(direction)
            position = position + 0.5 * direction
            voxel = tuple((position / spacing).astype(int))
            if any(not 0 <= v < size for v, size in zip(voxel, shape, strict=True)):
                break
            if not lines[voxel]:
                lines[voxel] = number
    distance, nearest = ndimage.distance_transform_edt(lines == 0, sampling=spacing, return_indices=True)
    return np.where(distance <= 3.0, lines[tuple(nearest)], 0).astype(np.int32)


def _place_blobs(
    shape: tuple[int, ...],
    spacing: tuple[float, ...],
    count: int,
    taken: npt.NDArray[np.bool_],
    rng: np.random.Generator,
) -> npt.NDArray[np.int32]:
    """Put ellipsoids of 6 to 11 µm radius where there is room; neighbours may touch, not overlap."""
    from scipy import ndimage

    ids = np.zeros(shape, np.int32)
    blocked = ndimage.binary_dilation(taken, iterations=2)
    number = 0
    for _ in range(20 * count):
        if number == count:
            break
        radii = rng.uniform(6.0, 11.0, 3) / spacing
        centre = rng.uniform(radii * 0.6, np.array(shape) - radii * 0.6)
        low = np.maximum(np.floor(centre - radii).astype(int), 0)
        high = np.minimum(np.ceil(centre + radii).astype(int) + 1, shape)
        box = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
        grid = np.indices(tuple(high - low)) + low[:, None, None, None]
        scaled = (grid - centre[:, None, None, None]) / radii[:, None, None, None]
        blob = (scaled**2).sum(axis=0) <= 1.0
        if (blocked[box] & blob).any():
            continue
        number += 1
        ids[box][blob] = number
        blocked[box] |= blob
    return ids


def _photograph(
    tubes: npt.NDArray[np.int32], blobs: npt.NDArray[np.int32], rng: np.random.Generator
) -> npt.NDArray[np.uint8]:
    """Give objects their brightness and texture, then blur, uneven light and noise, as a camera would."""
    from scipy import ndimage

    shape = tubes.shape
    brightness = np.concatenate([[0.0], rng.uniform(0.38, 0.62, int(blobs.max()))])
    texture = ndimage.gaussian_filter(rng.normal(size=shape), 1.5)
    value = 0.12 + brightness[blobs] + 0.18 * (texture / texture.std()) * 0.5 * (blobs > 0)
    value = np.where(tubes > 0, 0.85, value)
    value = ndimage.gaussian_filter(value, (0.6, 1.0, 1.0))
    light = np.linspace(1.0, 0.7, shape[0])[:, None, None] * np.linspace(0.85, 1.0, shape[2])
    value = value * light + rng.normal(0.0, 0.06, shape)
    return np.asarray(np.clip(value * 255.0, 0, 255), np.uint8)
