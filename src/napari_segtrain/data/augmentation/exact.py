"""Flips and quarter turns: voxels change places and nothing is interpolated."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Rearrangement:
    """Where each voxel of a patch comes from, an axis at a time.

    Parameters
    ----------
    index
        For each source axis, what is read along it: a slice, or indices where the patch reaches beyond
        the source (reflected).
    order
        Source axis that becomes each axis of the patch.
    inside
        For each source axis, which of `index` lie inside; None when all do.
    """

    index: tuple[slice | np.ndarray, ...]
    order: tuple[int, ...]
    inside: tuple[np.ndarray | None, ...]

    def take(self, array: np.ndarray) -> np.ndarray:
        """Return the patch of ``(…, *source)`` as a contiguous ``(…, *patch)``, same type."""
        leading = array.ndim - len(self.order)
        for axis, index in enumerate(self.index):
            array = array[(slice(None),) * (leading + axis) + (index,)]
        order = (*range(leading), *(leading + axis for axis in self.order))
        return np.ascontiguousarray(array.transpose(order))

    def take_mask(self, mask: np.ndarray) -> np.ndarray:
        """Return the patch of a bool ``(…, *source)``, False outside the source."""
        taken = self.take(mask)
        for axis, source_axis in enumerate(self.order):
            inside = self.inside[source_axis]
            if inside is not None:
                shape = [1] * len(self.order)
                shape[axis] = -1
                taken = taken & inside.reshape(shape)
        return taken


def rearrangement(
    matrix: np.ndarray, source_size: tuple[int, ...], patch_size: tuple[int, ...]
) -> Rearrangement | None:
    """Return the rearrangement that a matrix is, or None when it falls between voxels.

    Parameters
    ----------
    matrix
        Patch voxels to source voxels, both from their centres, ``(ndim, ndim)``.
    source_size, patch_size
        Voxels an axis; the patch lies at the centre of the source.
    """
    rounded = np.rint(matrix)
    offset = center_offset(rounded, source_size, patch_size)
    if np.abs(matrix - rounded).max() > 1e-6 or np.abs(offset - np.rint(offset)).max() > 1e-6:
        return None
    if (np.abs(rounded).sum(axis=0) != 1).any() or (np.abs(rounded).sum(axis=1) != 1).any():
        return None
    indices: list[slice | np.ndarray] = []
    inside: list[np.ndarray | None] = []
    to_patch = np.abs(rounded).argmax(axis=1)
    for axis, size in enumerate(source_size):
        step = int(rounded[axis, to_patch[axis]])
        count = patch_size[to_patch[axis]]
        start = round(offset[axis])
        index = start + step * np.arange(count)
        if index.min() >= 0 and index.max() < size:
            stop = start + step * count
            indices.append(slice(start, stop if stop >= 0 else None, step))
            inside.append(None)
        else:
            indices.append(reflect(index, size))
            inside.append((index >= 0) & (index < size))
    return Rearrangement(tuple(indices), tuple(int(a) for a in np.argsort(to_patch)), tuple(inside))


def center_offset(
    matrix: np.ndarray, source_size: tuple[int, ...], patch_size: tuple[int, ...]
) -> np.ndarray:
    """Return where voxel 0 of the patch comes from, ``(ndim,)`` float64 in source voxels.

    The patch starts at ``(source - patch) // 2``, so that its centre is at a voxel also when one size is
    odd and the other even.
    """
    patch = np.asarray(patch_size)
    start = (np.asarray(source_size) - patch) // 2
    return np.asarray(start + (patch - 1) / 2 - matrix @ ((patch - 1) / 2))


def reflect(index: np.ndarray, size: int) -> np.ndarray:
    """Return indices mirrored at the outermost voxels until they lie in ``[0, size)``."""
    if size == 1:
        return np.zeros_like(index)
    period = 2 * (size - 1)
    index = np.abs(index) % period
    return np.asarray(np.minimum(index, period - index))
