"""Test-time augmentation: predict mirrored versions and turn the predictions back, vectors included."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from torch import Tensor


@dataclass(frozen=True)
class Symmetry:
    """A symmetry of the voxel grid: axes are permuted, then some are mirrored.

    Attributes
    ----------
    order
        Axis `a` of the result is axis `order[a]` of the input.
    flips
        Which axes of the result are mirrored.
    """

    order: tuple[int, ...]
    flips: tuple[bool, ...]

    @cached_property
    def inverse(self) -> Symmetry:
        """The symmetry that undoes this one."""
        order = tuple(int(a) for a in np.argsort(self.order))
        return Symmetry(order, tuple(self.flips[a] for a in order))

    def apply(self, values: Tensor) -> Tensor:
        """Move the voxels of `(B, C, *spatial)`; components of vectors are left as they are."""
        spatial = len(self.order)
        axes = [2 + a for a in self.order]
        moved = values if axes == sorted(axes) else values.permute(0, 1, *axes)
        mirrored = [2 + a for a in range(spatial) if self.flips[a]]
        return moved.flip(mirrored) if mirrored else moved

    def apply_vectors(self, values: Tensor) -> Tensor:
        """Move the voxels of vectors `(B, ndim, *spatial)` and turn the vectors along.

        Components are in array order: they are permuted as the axes are, and negated along mirrored ones.
        """
        moved = self.apply(values)
        if self.order != tuple(sorted(self.order)):
            moved = moved[:, list(self.order)]
        if not any(self.flips):
            return moved
        signs = moved.new_tensor([-1.0 if flip else 1.0 for flip in self.flips])
        return moved * signs.reshape(1, -1, *(1,) * len(self.order))


def mirrors(ndim: int) -> Sequence[Symmetry]:
    """Return all mirrorings, the identity first: 4 in 2D, 8 in 3D."""
    order = tuple(range(ndim))
    return [Symmetry(order, flips) for flips in itertools.product((False, True), repeat=ndim)]
