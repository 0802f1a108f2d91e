"""Uniform cubic b-splines: few nodes, a smooth displacement everywhere."""

from __future__ import annotations

import numpy as np


def basis(nodes: int, size: int) -> np.ndarray:
    """Return the weight of each node at each voxel of an axis.

    The first voxel lies at the start of the first interval, the last one at the end of the last.

    Parameters
    ----------
    nodes
        Number of nodes: intervals + 3, at least 4.
    size
        Number of voxels.

    Returns
    -------
    numpy.ndarray
        ``(nodes, size)`` float32; columns sum to 1.
    """
    intervals = nodes - 3
    position = np.linspace(0.0, intervals, size) if size > 1 else np.zeros(1)
    start = np.minimum(position.astype(int), intervals - 1)
    t = position - start
    weights = np.zeros((nodes, size))
    voxel = np.arange(size)
    weights[start, voxel] = (1 - t) ** 3 / 6
    weights[start + 1, voxel] = (3 * t**3 - 6 * t**2 + 4) / 6
    weights[start + 2, voxel] = (-3 * t**3 + 3 * t**2 + 3 * t + 1) / 6
    weights[start + 3, voxel] = t**3 / 6
    return weights.astype(np.float32)
