"""The inner loops of 3D intensities."""

from __future__ import annotations

import numpy as np

from .compiling import compiled, float32, float64, int32, reads, uint64, writes

_row, _rows, _volume = reads(float32, 1), reads(float32, 2), reads(float32, 3)
_indices = reads(int32, 1)


@compiled((_row, writes(float64, 1)))
def moments(values: np.ndarray, out: np.ndarray) -> None:
    """Write smallest and largest value, mean and standard deviation of a flat channel, in one pass."""
    first = values[0]
    low = high = first
    total, squares = np.float64(0.0), np.float64(0.0)
    for start in range(0, values.size, 4096):
        block = values[start : start + 4096]
        part, part_squares = np.float32(0.0), np.float32(0.0)
        least, most = low, high
        for i in range(block.size):
            # From the first value on: squares of large numbers would swallow a small spread.
            difference = block[i] - first
            part += difference
            part_squares += difference * difference
        for i in range(block.size):
            least = block[i] if block[i] < least else least
            most = block[i] if block[i] > most else most
        total += part
        squares += part_squares
        low, high = least, most
    mean = total / values.size
    out[0], out[1], out[2] = low, high, first + mean
    out[3] = np.sqrt(max(squares / values.size - mean * mean, 0.0))


@compiled((_volume, _row, float32, float32, _rows, _rows, _rows, _row, float32, uint64, writes(float32, 3)))
def pointwise(
    image: np.ndarray,
    table: np.ndarray,
    low: float,
    per_step: float,
    light_z: np.ndarray,
    light_y: np.ndarray,
    light_x: np.ndarray,
    pool: np.ndarray,
    sigma: float,
    seed: int,
    out: np.ndarray,
) -> None:
    """Apply a curve, the light of each slice, and noise to one channel, in one pass.

    ``out = curve(v) · gz · gy · gx + sz + sy + sx + sigma · noise``

    Parameters
    ----------
    image, out
        ``(Z, Y, X)`` float32.
    table, low, per_step
        The curve: value at ``low + i / per_step``, linear between; empty for the identity.
    light_z, light_y, light_x
        Gain and shift of each slice across an axis, ``(2, n)``.
    pool, sigma, seed
        Standard normal numbers, at least twice as many as a row has; each row takes a stretch of them,
        forwards or mirrored in sign, that a hash of seed and row chooses.
    """
    rows, length = image.shape[1], image.shape[2]
    last = np.int32(table.size - 2)
    places = np.uint64(max(pool.size - length, 1))
    for z in range(image.shape[0]):
        for y in range(rows):
            source, result = image[z, y], out[z, y]
            gain = light_z[0, z] * light_y[0, y]
            shift = light_z[1, z] + light_y[1, y]
            if table.size > 1:
                for x in range(length):
                    position = (source[x] - low) * per_step
                    i = max(min(np.int32(position), last), np.int32(0))
                    below = table[np.uint32(i)]
                    result[x] = below + (position - np.float32(i)) * (table[np.uint32(i + 1)] - below)
            else:
                for x in range(length):
                    result[x] = source[x]
            for x in range(length):
                result[x] = result[x] * (gain * light_x[0, x]) + (shift + light_x[1, x])
            if sigma > 0.0:
                # The finaliser of splitmix64: neighbouring rows get unrelated places.
                h = seed + np.uint64(z * rows + y + 1) * np.uint64(0x9E3779B97F4A7C15)
                h = (h ^ (h >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
                h = (h ^ (h >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
                h ^= h >> np.uint64(31)
                amount = sigma if h >> np.uint64(63) else -sigma
                stretch = pool[h % places :]
                for x in range(length):
                    result[x] += amount * stretch[x]


@compiled((_volume, _indices, _rows, _indices, _rows, _indices, _rows, writes(float32, 3)))
def separable(
    image: np.ndarray,
    first_z: np.ndarray,
    weights_z: np.ndarray,
    first_y: np.ndarray,
    weights_y: np.ndarray,
    first_x: np.ndarray,
    weights_x: np.ndarray,
    out: np.ndarray,
) -> None:
    """Apply a banded matrix along each axis of one channel, a plane at a time so that it stays in cache.

    Parameters
    ----------
    image, out
        ``(Z, Y, X)`` float32.
    first_z, first_y, first_x
        First voxel that a result voxel reads along the axis, ``(n,)``.
    weights_z, weights_y, weights_x
        Weights of the voxels from there on, ``(taps, n)``.
    """
    n1, n2 = image.shape[1], image.shape[2]
    plane = np.empty((n1, n2), np.float32)
    row = np.empty(n2, np.float32)
    for z in range(image.shape[0]):
        plane[:] = 0.0
        for k in range(weights_z.shape[0]):
            source, weight = image[first_z[z] + k], weights_z[k, z]
            for y in range(n1):
                for x in range(n2):
                    plane[y, x] += weight * source[y, x]
        for y in range(n1):
            row[:] = 0.0
            for k in range(weights_y.shape[0]):
                weight, start = weights_y[k, y], first_y[y] + k
                for x in range(n2):
                    row[x] += weight * plane[start, x]
            result = out[z, y]
            result[:] = 0.0
            for k in range(weights_x.shape[0]):
                for x in range(n2):
                    result[x] += weights_x[k, x] * row[np.uint32(first_x[x] + k)]
