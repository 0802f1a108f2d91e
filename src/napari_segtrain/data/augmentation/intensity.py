"""3D intensities: one filter pass for blur and resolution, one point-wise pass for everything else."""

from __future__ import annotations

import functools

import numpy as np

from .exact import reflect
from .frame import Frame
from .parameters import CONSTANT, IntensityParameters, SliceLight, for_channel

CURVE = 1024
"""Steps of the curve that a gamma becomes; between them it is linear."""

POOL = 2**18
"""Normal numbers that all noise is cut from: drawing a fresh one for every voxel takes longer than all the
rest of the augmentation."""

LEAST_BLUR = 0.2
"""A gaussian narrower than this, in voxels of an axis, leaves the neighbours less than a millionth."""

Light = tuple[np.ndarray, np.ndarray, np.ndarray]
Bands = list[tuple[np.ndarray, np.ndarray]]


def change_volume(frame: Frame, params: IntensityParameters, image: np.ndarray) -> np.ndarray:
    """Apply `params` to a patch, in the order of a microscope: optics, light, detector, lost slices.

    Missing slices leave labels and masks as they are: a section that was lost or came out black still
    has to be segmented from its neighbours, so the loss must go on asking for it.

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
    numpy.ndarray
        ``(C, Z, Y, X)`` float32; the image itself when nothing was drawn.
    """
    if params.identity:
        return image
    from . import intensity_loops

    matrices = bands(frame, params)
    image = np.ascontiguousarray(image, np.float32)
    out = np.empty_like(image)
    measured = np.zeros(4)
    for channel in range(image.shape[0]):
        current, result = image[channel], out[channel]
        if matrices:
            _filter(current, matrices, result)
            current = result
        if params.pointwise or params.missing is not None:
            intensity_loops.moments(current.reshape(-1), measured)
        low, high, mean, std = (float(m) for m in measured)
        if params.pointwise and high - low > CONSTANT:
            _change_points(frame, params, (channel, image.shape[0]), (low, high, mean, std), current, result)
        elif current is not result:
            result[...] = current
        if params.missing is not None and frame.slice_axis is not None:
            slices = (slice(None),) * frame.slice_axis + (list(params.missing.positions),)
            result[slices] = low + params.missing.level * (high - low)
    return out


def _change_points(
    frame: Frame,
    params: IntensityParameters,
    channel: tuple[int, int],
    measured: tuple[float, float, float, float],
    image: np.ndarray,
    out: np.ndarray,
) -> None:
    """Run the point-wise pass over one channel ``(Z, Y, X)``; `channel` is its index and their number."""
    from . import intensity_loops

    low, high, mean, std = measured
    factor = 1.0 if params.contrast is None else for_channel(params.contrast, *channel)
    shift = 0.0 if params.brightness is None else for_channel(params.brightness, *channel) * std
    table = np.empty(0, np.float32)
    if params.gamma is not None:
        table = (low + (high - low) * unit_curve(for_channel(params.gamma, *channel))).astype(np.float32)
    light = _light(frame, params, (factor, mean * (1 - factor) + shift), mean, std)
    sigma, seed = 0.0, 0
    if params.noise is not None:
        sigma = for_channel(params.noise.sigma, *channel) * std
        seed = params.noise.seed + channel[0]
    steps = CURVE / (high - low)
    noise = noise_pool(image.shape[2])
    intensity_loops.pointwise(image, table, low, steps, light[0], light[1], light[2], noise, sigma, seed, out)


def _filter(image: np.ndarray, matrices: Bands, out: np.ndarray) -> None:
    """Apply the banded matrices of the three axes to one channel ``(Z, Y, X)``."""
    from . import intensity_loops

    (first_z, weights_z), (first_y, weights_y), (first_x, weights_x) = matrices
    intensity_loops.separable(image, first_z, weights_z, first_y, weights_y, first_x, weights_x, out)


def _light(
    frame: Frame, params: IntensityParameters, line: tuple[float, float], mean: float, std: float
) -> Light:
    """Return gain and shift of the slices across each axis, ``(2, n)`` float32; `line` acts before them."""
    factor, shift = line
    axes = [np.repeat(np.asarray([[1.0], [0.0]], np.float32), n, axis=1) for n in frame.patch_size]
    axis = frame.slice_axis or 0
    gains, shifts = np.ones(1), np.zeros(1)
    if isinstance(params.illumination, SliceLight):
        gains = np.asarray(params.illumination.gains)
        shifts = mean * (1 - gains) + std * np.asarray(params.illumination.shifts)
    axes[axis][0] = factor * gains
    axes[axis][1] = shift * gains + shifts
    return axes[0], axes[1], axes[2]


@functools.cache
def _pool(size: int) -> np.ndarray:
    """Return `size` standard normal numbers, the same in every process."""
    pool = np.random.default_rng(20).standard_normal(size, dtype=np.float32)
    pool.flags.writeable = False
    return pool


def unit_curve(gamma: float) -> np.ndarray:
    """Return ``x ** gamma`` at the steps of the curve from 0 to 1, ``(CURVE + 1,)`` float64."""
    return np.asarray(np.linspace(0.0, 1.0, CURVE + 1) ** gamma)


def noise_pool(row: int) -> np.ndarray:
    """Return a pool of normal numbers at least twice as long as a row."""
    return _pool(POOL if 2 * row <= POOL else 2 * row)


def bands(frame: Frame, params: IntensityParameters) -> Bands:
    """Return first voxel and weights for each axis; nothing when neither blur nor resolution change."""
    if params.blur is None and params.low_resolution is None:
        return []
    sigmas = frame.in_voxels(params.blur or 0.0)
    result = []
    for size, sigma, coarse in zip(frame.patch_size, sigmas, frame.coarse, strict=True):
        # A coarse axis has lost its resolution already.
        factor = 1.0 if coarse or params.low_resolution is None else params.low_resolution
        result.append(band(size, sigma, factor))
    return result


@functools.lru_cache(maxsize=64)
def band(size: int, sigma: float, factor: float) -> tuple[np.ndarray, np.ndarray]:
    """Return a gaussian followed by a loss of resolution as a banded matrix.

    Resolution is lost by keeping the nearest voxel of every `factor` and drawing lines between them. Axes
    of the same size and spacing share a matrix, so the last ones are kept.

    Parameters
    ----------
    size
        Voxels of the axis.
    sigma
        Standard deviation of the gaussian in voxels; cut off at three of them, reflected at the ends.
    factor
        How many voxels become one, 1 for none.

    Returns
    -------
    tuple
        First voxel read for each voxel ``(size,)`` int32, and weights from there on ``(taps, size)``
        float32; read-only.
    """
    voxels = np.arange(size)
    matrix = np.eye(size)
    if sigma >= LEAST_BLUR:
        radius = int(np.ceil(3 * sigma))
        steps = np.arange(-radius, radius + 1)
        weights = np.exp(-0.5 * (steps / sigma) ** 2)
        matrix = np.zeros((size, size))
        for step, weight in zip(steps, weights / weights.sum(), strict=True):
            np.add.at(matrix, (voxels, reflect(voxels + step, size)), weight)
    count = max(round(size / factor), 1)
    if count < size:
        kept = np.floor((np.arange(count) + 0.5) * size / count).astype(int)
        position = np.clip((voxels + 0.5) * count / size - 0.5, 0, count - 1)
        below = np.minimum(position.astype(int), max(count - 2, 0))
        share = (position - below)[:, None]
        above = np.minimum(below + 1, count - 1)
        matrix = (1 - share) * matrix[kept[below]] + share * matrix[kept[above]]
    used = matrix != 0
    first, last = used.argmax(axis=1), size - 1 - used[:, ::-1].argmax(axis=1)
    taps = int((last - first).max()) + 1
    first = np.minimum(first, size - taps)
    weights = matrix[voxels[None, :], first[None, :] + np.arange(taps)[:, None]]
    result = first.astype(np.int32), np.ascontiguousarray(weights, np.float32)
    for array in result:
        array.flags.writeable = False
    return result
