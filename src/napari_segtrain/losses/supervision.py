"""Targets at the coarser resolutions of deep supervision."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn import functional


def level_weights(levels: int) -> list[float]:
    """Return the weight of each resolution, finest first: 1, 1/2, 1/4, …, normalised to a sum of 1."""
    raw = [0.5**level for level in range(levels)]
    return [weight / sum(raw) for weight in raw]


def coarser(
    target: Tensor, mask: Tensor, size: Sequence[int], interpolation: Literal["nearest", "linear"]
) -> tuple[Tensor, Tensor]:
    """Make a target and its mask smaller without mixing unlabelled voxels in.

    Parameters
    ----------
    target
        ``(B, C, *spatial)``; class numbers (not floating point) always take the nearest.
    mask
        ``(B, 1, *spatial)`` bool.
    size
        Spatial size to make.
    interpolation
        ``nearest``: the voxel nearest to the centre of the coarse one, with its mask. ``linear``: the mean
        of the valid voxels of each block; valid where the block has any.

    Returns
    -------
    target : Tensor
        ``(B, C, *size)``.
    mask : Tensor
        ``(B, 1, *size)`` bool.
    """
    size = tuple(size)
    if target.shape[2:] == size:
        return target, mask
    if interpolation == "nearest" or not target.is_floating_point():
        for axis, (new, old) in enumerate(zip(size, target.shape[2:], strict=True), start=2):
            place = ((torch.arange(new, device=target.device) + 0.5) * (old / new)).long().clamp_max(old - 1)
            target = target.index_select(axis, place)
            mask = mask.index_select(axis, place)
        return target, mask
    pool: Any = functional.adaptive_avg_pool2d if len(size) == 2 else functional.adaptive_avg_pool3d
    known = mask.to(target.dtype)
    share = pool(known, size)
    mean = pool(target.masked_fill(~mask, 0), size) / share.clamp_min(torch.finfo(target.dtype).tiny)
    return mean, share > 0
