"""3D intensities on a device: `change_volume` in whole-volume operations of torch.

Parameters, curves, filters and noise are those of the loops on the processor, so that a draw means the same
on either; only roundings differ. Nothing here waits for the device: what is measured of an image stays there,
and a decision that depends on it is a choice between two results. No operation depends on the order in
which a device happens to work, so that a training repeats bit for bit.
"""

from __future__ import annotations

import functools

import numpy as np
import torch
from torch import Tensor

from .frame import Frame
from .intensity import CURVE, bands, noise_pool, unit_curve
from .parameters import CONSTANT, IntensityParameters, Noise, SliceLight, for_channel


def change_tensor(frame: Frame, params: IntensityParameters, image: Tensor) -> Tensor:
    """Apply `params` to a patch, in the order of a microscope: optics, light, detector, lost slices.

    Parameters
    ----------
    frame
        Size and spacing of the patch.
    params
        What was drawn.
    image
        ``(C, Z, Y, X)`` float32; not changed.

    Returns
    -------
    torch.Tensor
        ``(C, Z, Y, X)`` float32 on the image's device; the image itself when nothing was drawn.
    """
    for axis, (first, weights) in enumerate(bands(frame, params), start=1):
        image = _filter(image, axis, first, weights)
    if not params.pointwise and params.missing is None:
        return image
    low, high = (bound[:, None] for bound in torch.aminmax(image.flatten(1), dim=1))
    result = _change_points(frame, params, image, low, high) if params.pointwise else image
    if params.missing is not None and frame.slice_axis is not None:
        lost = np.zeros(frame.patch_size[frame.slice_axis], bool)
        lost[list(params.missing.positions)] = True
        blank = low + params.missing.level * (high - low)
        where = _across(_sent(lost[None], image), frame.slice_axis)
        result = torch.where(where, _across(blank, frame.slice_axis), result)
    return result


def _filter(image: Tensor, axis: int, first: np.ndarray, weights: np.ndarray) -> Tensor:
    """Apply a banded matrix along an axis: voxel ``i`` is the sum of ``weights[k, i] · v[first[i] + k]``."""
    start, factors = _sent(first.astype(np.int64), image), _sent(weights, image)
    shape = [1, 1, 1, 1]
    shape[axis] = -1
    out = torch.zeros_like(image)
    for k in range(weights.shape[0]):
        out.addcmul_(image.index_select(axis, start + k), factors[k].view(shape))
    return out


def _change_points(
    frame: Frame, params: IntensityParameters, image: Tensor, low: Tensor, high: Tensor
) -> Tensor:
    """Change every voxel by itself; a channel of one colour stays as it is. `low`, `high`: ``(C, 1)``."""
    varied = high - low > CONSTANT
    variance, mean = torch.var_mean(image.flatten(1).double(), dim=1, correction=0, keepdim=True)
    std = variance.sqrt()
    result = image
    if params.gamma is not None:
        result = _curve(params.gamma, image, low, torch.where(varied, high - low, 1.0))
    gain, shift = _light(frame, params, mean, std)
    axis = frame.slice_axis or 0
    result = result * _across(gain.float(), axis) + _across(shift.float(), axis)
    if params.noise is not None:
        sigma = _channels(params.noise.sigma, image) * std
        result = result + _noise(params.noise, image) * _across(sigma.float(), axis)
    return torch.where(_across(varied, axis), result, image)


def _curve(gamma: tuple[float, ...], image: Tensor, low: Tensor, span: Tensor) -> Tensor:
    """Send voxels along the curve of each channel, a line between its steps."""
    channels = image.shape[0]
    units = np.stack([unit_curve(for_channel(gamma, channel, channels)) for channel in range(channels)])
    table = (low.double() + span.double() * _sent(units, image)).float()
    position = (image.flatten(1) - low) * (CURVE / span)
    step = position.long().clamp_(0, CURVE - 1)
    below = table.gather(1, step)
    return (below + (position - step) * (table.gather(1, step + 1) - below)).view_as(image)


def _light(frame: Frame, params: IntensityParameters, mean: Tensor, std: Tensor) -> tuple[Tensor, Tensor]:
    """Return gain and shift of each channel's slices, ``(C, n)`` or ``(C, 1)`` float64."""
    gain, shift = torch.ones_like(mean), torch.zeros_like(mean)
    if params.contrast is not None:
        gain = _channels(params.contrast, mean)
        shift = mean * (1 - gain)
    if params.brightness is not None:
        shift = shift + _channels(params.brightness, mean) * std
    if isinstance(params.illumination, SliceLight):
        gains = _sent(np.asarray(params.illumination.gains)[None], mean)
        shifts = _sent(np.asarray(params.illumination.shifts)[None], mean)
        gain, shift = gain * gains, shift * gains + mean * (1 - gains) + std * shifts
    return gain, shift


def _noise(noise: Noise, image: Tensor) -> Tensor:
    """Return standard normal noise ``(C, Z, Y, X)``: rows of the pool, forwards or mirrored in sign."""
    channels, slices, rows, length = image.shape
    pool = _pool(length, image.device)
    places = max(pool.numel() - length, 1)
    hashes = np.stack([row_hashes(noise.seed + channel, slices * rows) for channel in range(channels)])
    starts = _sent((hashes % np.uint64(places)).astype(np.int64), image)
    signs = _sent(np.where(hashes >> np.uint64(63), 1.0, -1.0).astype(np.float32), image)
    return (pool.unfold(0, length, 1)[starts] * signs[..., None]).view(image.shape)


def row_hashes(seed: int, rows: int) -> np.ndarray:
    """Return the number that chooses the noise of each row, ``(rows,)`` uint64.

    The finaliser of splitmix64, as `intensity_loops.pointwise` has it.
    """
    hashes = np.arange(1, rows + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15) + np.uint64(seed)
    hashes = (hashes ^ (hashes >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    hashes = (hashes ^ (hashes >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return hashes ^ (hashes >> np.uint64(31))


@functools.cache
def _pool(row: int, device: torch.device) -> Tensor:
    """Return the pool of normal numbers for rows of a length, on a device."""
    return torch.tensor(noise_pool(row), device=device)


def _channels(values: tuple[float, ...], like: Tensor) -> Tensor:
    """Return the value of each channel of `like`, ``(C, 1)`` float64."""
    channels = like.shape[0]
    return _sent(np.asarray([[for_channel(values, c, channels)] for c in range(channels)]), like)


def _across(values: Tensor, axis: int) -> Tensor:
    """Shape ``(C, n)``, a value a slice across a spatial axis, for arithmetic with ``(C, Z, Y, X)``."""
    shape = [values.shape[0], 1, 1, 1]
    shape[axis + 1] = values.shape[1]
    return values.reshape(shape)


def _sent(array: np.ndarray, like: Tensor) -> Tensor:
    """Return an array on the device of `like`, without waiting: the driver copies small ones at once."""
    return torch.tensor(array).to(like.device, non_blocking=True)
