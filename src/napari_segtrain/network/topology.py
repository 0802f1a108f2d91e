"""How often an axis is pooled, with what kernels: the geometry of a U-Net from sizes and spacing."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

MINIMUM_MAP = 4
"""No axis of a feature map becomes smaller than this many voxels by pooling."""

COARSE = 2.0
"""An axis this many times coarser than the finest one is neither pooled nor convolved along."""


@dataclass(frozen=True)
class Topology:
    """Kernels and strides, one entry a stage, finest stage first; each entry has a number an axis."""

    kernel_sizes: tuple[tuple[int, ...], ...]
    strides: tuple[tuple[int, ...], ...]

    @property
    def divisor(self) -> tuple[int, ...]:
        """What the size of each axis must be divisible by."""
        return tuple(math.prod(stride) for stride in zip(*self.strides, strict=True))


def plan_topology(
    patch_size: Sequence[int], spacing: Sequence[float], max_poolings: int | None = None
) -> Topology:
    """Choose kernels and strides as nnU-Net does.

    An axis is pooled while its size is at least twice the smallest map, its spacing is below twice the
    smallest spacing among the axes that are still large enough, and it was pooled fewer than
    `max_poolings` times. Pooling halves size and doubles spacing. An axis has kernel 3 from the stage on
    at which its spacing is within a factor of two of the finest.

    Parameters
    ----------
    patch_size
        Size of the patch in array order, in voxels.
    spacing
        Size of a voxel in the same order, in physical units.
    max_poolings
        Largest number of poolings along one axis; None sets no limit.

    References
    ----------
    Isensee et al. 2021, Nature Methods 18, 203-211, supplementary note 2.
    """
    axes = range(len(patch_size))
    size, step = [int(s) for s in patch_size], [float(s) for s in spacing]
    poolings = [0] * len(size)
    kernel = [1] * len(size)
    kernels: list[tuple[int, ...]] = []
    strides: list[tuple[int, ...]] = [(1,) * len(size)]
    while True:
        finest = min(step)
        kernel = [3 if k == 3 or s < COARSE * finest else 1 for k, s in zip(kernel, step, strict=True)]
        kernels.append(tuple(kernel))
        large = [a for a in axes if size[a] >= 2 * MINIMUM_MAP]
        pooled = {
            a
            for a in large
            if step[a] < COARSE * min(step[b] for b in large)
            and (max_poolings is None or poolings[a] < max_poolings)
        }
        if not pooled:
            return Topology(tuple(kernels), tuple(strides))
        strides.append(tuple(2 if a in pooled else 1 for a in axes))
        for a in pooled:
            size[a] = math.ceil(size[a] / 2)
            step[a] *= 2
            poolings[a] += 1


def round_up(size: Sequence[int], divisor: Sequence[int]) -> tuple[int, ...]:
    """Return the smallest sizes not below `size` that `divisor` divides, axis by axis."""
    return tuple(math.ceil(s / d) * d for s, d in zip(size, divisor, strict=True))


def default_patch_size(shape: Sequence[int], spacing: Sequence[float]) -> tuple[int, ...]:
    """Choose a patch that is as long in physical units along every axis and fits the image.

    Parameters
    ----------
    shape
        Median shape of the images in array order, in voxels.
    spacing
        Size of a voxel in the same order.

    Returns
    -------
    tuple of int
        About 256² voxels in 2D and 64³ in 3D. What an axis is too short for goes to the others.
    """
    voxels = 256**2 if len(shape) == 2 else 64**3
    wanted = [1.0 / s for s in spacing]
    patch = [0.0] * len(shape)
    open_axes = list(range(len(shape)))
    budget = float(voxels)
    while open_axes:
        factor = (budget / math.prod(wanted[a] for a in open_axes)) ** (1 / len(open_axes))
        full = [a for a in open_axes if wanted[a] * factor >= shape[a]]
        if not full:
            for a in open_axes:
                patch[a] = wanted[a] * factor
            break
        for a in full:
            patch[a] = shape[a]
            budget /= shape[a]
            open_axes.remove(a)
    return tuple(max(MINIMUM_MAP, round(p)) for p in patch)
