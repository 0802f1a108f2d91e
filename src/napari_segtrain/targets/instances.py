"""What an instance target is learned by, beside its foreground: boundary and centre distance."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .object_kernels import instance_boundary, normalise_instances
from .source import SourcePatch

TRUSTED_SHARE = 0.6
"""See `centre_distance`."""


def boundary(patch: SourcePatch) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Return the boundary of all objects ``(1, *spatial)`` and where it is known ``(*spatial)``.

    See `object_kernels.instance_boundary`.
    """
    marked, valid = instance_boundary(patch.ids)
    return marked[np.newaxis].astype(np.float32), valid


def centre_distance(patch: SourcePatch) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    r"""Return how central every voxel is in its object ``(1, *spatial)``, and where that is known.

    .. math:: c(x) = D(x) / \max_{x' \in \text{object}} D(x')

    D the distance to the nearest voxel centre outside the object, other objects included, in physical
    units; 0 in the background, 1 at the deepest point of an object.

    Returns
    -------
    values : ndarray of float32
        ``(1, *spatial)``, 0 … 1.
    valid : ndarray of bool
        ``(*spatial)``.

    Notes
    -----
    The patch border is not taken for a surface: objects do not end where the patch does, and a network
    that learned so would cut objects at every tile. The price is that the depth of an object that is cut
    in two may be unknown. Its distances are trusted when voxels that are nearer to its surface than to
    the border (or to an unlabelled voxel) reach at least 0.6 of its largest distance. A tube through the
    border passes; a disc passes when its centre is inside by a fifth of its radius; an object of which a
    rim is visible fails and is invalid, not wrong.
    """
    sides = patch.sides
    if sides is None:
        return np.zeros((1, *patch.shape), np.float32), patch.labelled & ~patch.foreground
    certain = np.broadcast_to(patch.reach, patch.shape)
    values, valid = normalise_instances(patch.ids, sides.signed, certain, TRUSTED_SHARE)
    return values[np.newaxis], valid
