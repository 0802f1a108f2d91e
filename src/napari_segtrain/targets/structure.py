"""Structure tensors of a patch: which way its surfaces run in the neighbourhood of every voxel."""

from __future__ import annotations

from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .source import SourcePatch

LEAST_SHARE = 0.9
"""Share of a neighbourhood's weights that must lie on known gradients. What lies beyond can then change a
tensor of trace 1 by 0.05 at most, as much as the steps of the labels do."""

LEAST_TRACE = 0.001
"""Where the mean square of the gradient is below this, there is no structure."""

_KNOWN = np.float32(0.999)


class Structure(NamedTuple):
    """Tensors ``(triangle, *spatial)``, 0 where they are not known, and where they are, ``(*spatial)``."""

    tensors: NDArray[np.float32]
    valid: NDArray[np.bool_]


def triangle(ndim: int) -> int:
    """Return the number of components of a symmetric tensor: 3 in two dimensions, 6 in three."""
    return ndim * (ndim + 1) // 2


def structure_of(
    patch: SourcePatch, compute_from: Literal["sdt", "binary"], grad_sigma: float, tensor_sigma: float
) -> Structure:
    """Return the structure tensor in the foreground of a patch; computed once for each kind of settings.

    See `auxiliary.structure_tensor` for what it is.
    """
    settings = (compute_from, grad_sigma, tensor_sigma)
    if settings not in patch.structures:
        patch.structures[settings] = _compute(patch, *settings)
    return patch.structures[settings]


def _compute(
    patch: SourcePatch, compute_from: Literal["sdt", "binary"], grad_sigma: float, tensor_sigma: float
) -> Structure:
    from .smoothing import smooth
    from .tensor_kernels import mean_products, settle

    ndim = len(patch.shape)
    widths = [grad_sigma] * ndim
    if compute_from == "binary":
        field = smooth(patch.foreground.astype(np.float32), widths)
        known = smooth(patch.labelled.astype(np.float32), widths, "zero") > _KNOWN
        finest = min(patch.spacing)
        spacing = tuple(step / finest for step in patch.spacing)
    elif patch.surface is None:
        return Structure(np.zeros((triangle(ndim), *patch.shape), np.float32), np.zeros(patch.shape, bool))
    else:
        signed, reach = patch.surface
        field = smooth(signed, widths)
        known = patch.labelled & (np.abs(signed) <= reach * np.float32(1 + 1e-5))
        spacing = patch.spacing
    sums, share = mean_products(field, spacing, known, [tensor_sigma] * ndim)
    valid = settle(sums, share, patch.foreground, LEAST_SHARE, LEAST_TRACE)
    return Structure(sums, valid)
