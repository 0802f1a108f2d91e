"""Separate objects: seeds where the network sees an object's inside, grown by a watershed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cc3d
import numpy as np
import numpy.typing as npt
from skimage.segmentation import watershed

from napari_segtrain.config import InferenceConfig

Floats = npt.NDArray[np.floating[Any]]
Labels = npt.NDArray[np.int32]


@dataclass(frozen=True)
class Evidence:
    """What the network predicted about objects, each `(*spatial)`, 0 … 1.

    Attributes
    ----------
    foreground
        Probability that the voxel belongs to any object.
    boundary
        Probability that it lies on the boundary of an object, or None.
    distance
        Distance from the object's border, 1 in its middle, or None.
    """

    foreground: Floats
    boundary: Floats | None = None
    distance: Floats | None = None

    def flat(self, lead: int) -> Evidence:
        """Return the same without the first `lead` axes, which are of length 1."""

        def part(values: Floats) -> Floats:
            return values.reshape(values.shape[lead:])

        return Evidence(
            part(self.foreground),
            None if self.boundary is None else part(self.boundary),
            None if self.distance is None else part(self.distance),
        )

    @property
    def has_seeds(self) -> bool:
        """Whether there is anything that tells objects apart which touch."""
        return self.boundary is not None or self.distance is not None

    def inside(self) -> npt.NDArray[np.float32] | None:
        """Return how far inside an object a voxel is, 0 … 1: distance, less the boundary; None without."""
        if not self.has_seeds:
            return None
        if self.boundary is None:
            return np.asarray(self.distance, np.float32)
        away = 1.0 - np.asarray(self.boundary, np.float32)
        return away if self.distance is None else np.asarray(self.distance, np.float32) * away


def separate_instances(
    foreground: Floats,
    boundary: Floats | None = None,
    distance: Floats | None = None,
    inference: InferenceConfig | None = None,
    spacing: Sequence[float] | None = None,
) -> Labels:
    """Return object numbers from predictions about objects.

    Parameters
    ----------
    foreground, boundary, distance
        See `Evidence`. Without boundary and distance, objects are the connected parts of the foreground.
    inference
        `threshold`, `seed_threshold`, `seed_distance` and `min_size`; None is the default.
    spacing
        Size of a voxel in array order, for `seed_distance`; None where all its edges are alike.

    Returns
    -------
    ndarray of int32
        `(*spatial)`: 0 is background, objects are 1, 2, … without gaps, in raster order of their seeds.

    Notes
    -----
    Seeds are the face-connected parts of the foreground in which the inside exceeds `seed_threshold`;
    those nearer to each other than `seed_distance` count as one (`near_seeds`).
    They grow through the foreground from inside to outside (watershed by flooding, Beucher and Meyer
    1993). A part of the foreground without a seed is an object too.
    """
    inference = inference if inference is not None else InferenceConfig()
    evidence = Evidence(foreground, boundary, distance)
    objects, seeds = object_seeds(evidence, inference)
    if inference.seed_distance > 0 and evidence.has_seeds:
        from .near_seeds import near_seeds  # compiles

        seeds = near_seeds(seeds, objects > 0, inference.seed_distance, spacing)[seeds]
    labels = grow(evidence, objects > 0, complete_seeds(seeds, objects))
    return drop_small(labels, inference.min_size)


def object_seeds(evidence: Evidence, inference: InferenceConfig) -> tuple[Labels, Labels]:
    """Return the connected parts of the foreground and, numbered on their own, the seeds in them."""
    foreground = np.asarray(evidence.foreground) > inference.threshold
    inside = evidence.inside()
    objects = connected(foreground)
    if inside is None:
        return objects, objects
    return objects, connected(foreground & (inside > inference.seed_threshold))


def connected(mask: npt.NDArray[np.bool_]) -> Labels:
    """Return numbers 1, 2, … of the face-connected parts of a mask."""
    labels = cc3d.connected_components(mask, connectivity=4 if mask.ndim == 2 else 6, out_dtype=np.uint32)
    return np.asarray(labels).astype(np.int32, copy=False).reshape(mask.shape)


def complete_seeds(seeds: Labels, objects: Labels) -> Labels:
    """Make every part of the foreground that has no seed a seed as a whole, numbered after the others."""
    has_seed = np.zeros(int(objects.max(initial=0)) + 1, np.bool_)
    has_seed[objects[seeds > 0]] = True
    has_seed[0] = True
    missing = np.flatnonzero(~has_seed)
    if not missing.size:
        return seeds
    number = np.zeros(len(has_seed), np.int32)
    number[missing] = int(seeds.max(initial=0)) + np.arange(1, missing.size + 1, dtype=np.int32)
    return np.where(seeds > 0, seeds, number[objects])


def grow(evidence: Evidence, foreground: npt.NDArray[np.bool_], seeds: Labels) -> Labels:
    """Let seeds grow through the foreground, from what is most inside outwards."""
    inside = evidence.inside()
    if inside is None:
        return seeds
    return np.asarray(watershed(-inside, markers=seeds, mask=foreground)).astype(np.int32, copy=False)


def drop_small(labels: Labels, min_size: int) -> Labels:
    """Remove objects with fewer than `min_size` voxels and number the others without gaps."""
    return kept_numbers(np.bincount(labels.reshape(-1)), min_size)[labels]


def kept_numbers(sizes: npt.NDArray[np.integer[Any]], min_size: int) -> Labels:
    """Return the new number of every old one: 0 for background and for what is absent or too small."""
    kept = sizes >= max(min_size, 1)
    kept[0] = False
    return np.where(kept, np.cumsum(kept), 0).astype(np.int32)
