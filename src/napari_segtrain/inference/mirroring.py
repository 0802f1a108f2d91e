"""Test-time augmentation: predict mirrored versions and turn predictions back, vectors and tensors too."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from torch import Tensor

from napari_segtrain.targets import HeadKind


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
        """Move the voxels of `(B, C, *spatial)`; components of vectors and tensors are left as they are."""
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
        return moved * self._channels(moved, self._signs)

    def apply_tensors(self, values: Tensor) -> Tensor:
        """Move the voxels of symmetric tensors `(B, triangle, *spatial)` and turn the tensors along.

        Channels are the upper triangle in array order: zz, zy, zx, yy, yx, xx. A component belongs to two
        axes: both are permuted, and it is negated when one of the two is mirrored.
        """
        moved = self.apply(values)
        pairs = list(itertools.combinations_with_replacement(range(len(self.order)), 2))
        source = [pairs.index(self._pair(a, b)) for a, b in pairs]
        if source != sorted(source):
            moved = moved[:, source]
        signs = [self._signs[a] * self._signs[b] for a, b in pairs]
        return moved if min(signs) > 0 else moved * self._channels(moved, signs)

    def apply_kind(self, kind: HeadKind) -> Callable[[Tensor], Tensor]:
        """Return what moves the predictions of a kind of head; lines are tensors where they are summed."""
        turns = {"vector": self.apply_vectors, "line": self.apply_tensors, "tensor": self.apply_tensors}
        return turns.get(kind, self.apply)

    @property
    def _signs(self) -> list[float]:
        return [-1.0 if flip else 1.0 for flip in self.flips]

    def _pair(self, a: int, b: int) -> tuple[int, int]:
        first, second = sorted((self.order[a], self.order[b]))
        return first, second

    def _channels(self, like: Tensor, values: Sequence[float]) -> Tensor:
        """Return a number a channel, `(1, C, 1, …)`."""
        return like.new_tensor(values).reshape(1, -1, *(1,) * len(self.order))


def mirrors(ndim: int) -> Sequence[Symmetry]:
    """Return all mirrorings, the identity first: 4 in 2D, 8 in 3D."""
    order = tuple(range(ndim))
    return [Symmetry(order, flips) for flips in itertools.product((False, True), repeat=ndim)]
