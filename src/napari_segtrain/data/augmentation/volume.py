"""3D: one pass that reads the image linearly and says where labels and masks are read."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from .elastic import basis
from .exact import center_offset
from .frame import Frame
from .parameters import SpatialParameters

_WORDS = {1: np.uint8, 2: np.uint16, 4: np.uint32, 8: np.uint64}


def resample_volume(
    frame: Frame,
    params: SpatialParameters,
    image: np.ndarray,
    labels: Mapping[str, np.ndarray],
    masks: Mapping[str, np.ndarray],
) -> tuple[np.ndarray, dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Apply `params` to a crop that has the patch at its centre.

    All of flips, turns, rotation, size and deformation is one coordinate a voxel, read once: linearly for
    the image, at the nearest voxel for labels and masks. Outside the crop, image and labels are reflected
    and masks are False.

    Parameters
    ----------
    frame
        Size and spacing of the patch.
    params
        What was drawn.
    image
        ``(C, Z, Y, X)`` float32.
    labels, masks
        ``(Z, Y, X)`` or ``(C, Z, Y, X)``; labels of any type of up to 8 bytes, masks bool.

    Returns
    -------
    tuple
        Image, labels and masks with the size of the patch; types as given.

    Raises
    ------
    ValueError
        When the crop has 2³¹ voxels or more.
    """
    from . import spatial_loops

    source_size, patch_size = image.shape[1:], frame.patch_size
    if int(np.prod(source_size)) >= 2**31:
        raise ValueError(f"a crop of {source_size} voxels is too large to resample: at most 2**31 - 1 voxels")
    matrix = frame.matrix(params)
    offset = center_offset(matrix, source_size, patch_size)
    spacing = np.asarray(frame.spacing)[:, None, None, None]
    if params.elastic is None:
        nodes = np.empty((3, 0, 0, 0), np.float32)
    else:
        nodes = np.ascontiguousarray(params.elastic / spacing, dtype=np.float32)
    bases = [
        basis(count, size) if count else np.empty((0, size), np.float32)
        for count, size in zip(nodes.shape[1:], patch_size, strict=True)
    ]
    out = np.empty((image.shape[0], *patch_size), np.float32)
    nearest = np.empty(patch_size, np.int32)
    source = np.ascontiguousarray(image, np.float32)
    spatial_loops.resample(source, matrix, offset, nodes, bases[0], bases[1], bases[2], out, nearest)
    flat = nearest.reshape(-1)
    return (
        out,
        {name: _gather(array, flat, patch_size) for name, array in labels.items()},
        {name: _gather_mask(array, flat, patch_size) for name, array in masks.items()},
    )


def _gather(array: np.ndarray, nearest: np.ndarray, patch_size: tuple[int, ...]) -> np.ndarray:
    """Read an array of any type as words of its size: nearest voxels are moved, never computed with."""
    from . import spatial_loops

    leading = array.shape[:-3]
    word = _WORDS[array.dtype.itemsize]
    values = np.ascontiguousarray(array).reshape(-1, int(np.prod(array.shape[-3:])))
    out = np.empty((values.shape[0], nearest.size), array.dtype)
    for channel, result in zip(values, out, strict=True):
        spatial_loops.gather(channel.view(word), nearest, result.view(word))
    return out.reshape(*leading, *patch_size)


def _gather_mask(mask: np.ndarray, nearest: np.ndarray, patch_size: tuple[int, ...]) -> np.ndarray:
    from . import spatial_loops

    leading = mask.shape[:-3]
    values = np.ascontiguousarray(mask, bool).reshape(-1, int(np.prod(mask.shape[-3:])))
    out = np.empty((values.shape[0], nearest.size), bool)
    for channel, result in zip(values, out, strict=True):
        spatial_loops.gather_inside(channel.view(np.uint8), nearest, result.view(np.uint8))
    return out.reshape(*leading, *patch_size)
