"""The inner loops of 3D resampling."""

from __future__ import annotations

import numpy as np

from .compiling import WORDS, compiled, float32, float64, int32, int64, reads, writes

_row, _rows, _volume = reads(float32, 1), reads(float32, 2), reads(float32, 3)
_indices = reads(int32, 1)


@compiled((reads(float32, 4), _rows, int64, writes(float32, 3)))
def _over_z(nodes: np.ndarray, basis: np.ndarray, z: int, out: np.ndarray) -> None:
    """Combine the nodes ``(3, kz, ky, kx)`` of a b-spline for one plane, ``(3, ky, kx)``."""
    out[:] = 0.0
    for k in range(basis.shape[0]):
        weight = basis[k, z]
        if weight != 0.0:
            for axis in range(3):
                for i in range(out.shape[1]):
                    for j in range(out.shape[2]):
                        out[axis, i, j] += weight * nodes[axis, k, i, j]


@compiled((_volume, _rows, _rows, int64, writes(float32, 2)))
def _displace(plane: np.ndarray, basis_y: np.ndarray, basis_x: np.ndarray, y: int, at: np.ndarray) -> None:
    """Add the displacement of one row to its coordinates ``(3, p)``."""
    for axis in range(3):
        for j in range(basis_x.shape[0]):
            node = np.float32(0.0)
            for i in range(basis_y.shape[0]):
                node += basis_y[i, y] * plane[axis, i, j]
            for x in range(at.shape[1]):
                at[axis, x] += node * basis_x[j, x]


@compiled((_rows, int64, int64, int64, writes(float32, 2), writes(int32, 1), writes(int32, 1)))
def _locate(
    at: np.ndarray, n0: int, n1: int, n2: int, fraction: np.ndarray, corner: np.ndarray, nearest: np.ndarray
) -> None:
    """Turn the coordinates of one row into a cell, the place within it, and the nearest voxel."""
    half, zero = np.float32(0.5), np.float32(0.0)
    last0, last1, last2 = np.float32(n0 - 1), np.float32(n1 - 1), np.float32(n2 - 1)
    cell0, cell1, cell2 = np.int32(max(n0 - 2, 0)), np.int32(max(n1 - 2, 0)), np.int32(max(n2 - 2, 0))
    stride0, stride1 = np.int32(n1 * n2), np.int32(n2)
    for x in range(at.shape[1]):
        c0, c1, c2 = at[0, x], at[1, x], at[2, x]
        r0 = min(max(last0 - abs(last0 - abs(c0)), zero), last0)
        r1 = min(max(last1 - abs(last1 - abs(c1)), zero), last1)
        r2 = min(max(last2 - abs(last2 - abs(c2)), zero), last2)
        i0, i1, i2 = min(np.int32(r0), cell0), min(np.int32(r1), cell1), min(np.int32(r2), cell2)
        fraction[0, x] = r0 - np.float32(i0)
        fraction[1, x] = r1 - np.float32(i1)
        fraction[2, x] = r2 - np.float32(i2)
        corner[x] = np.int32(i0 * stride0 + i1 * stride1 + i2)
        index = np.int32(np.int32(r0 + half) * stride0 + np.int32(r1 + half) * stride1 + np.int32(r2 + half))
        outside = (
            (abs(c0 - half * last0) > half * last0 + half)
            | (abs(c1 - half * last1) > half * last1 + half)
            | (abs(c2 - half * last2) > half * last2 + half)
        )
        nearest[x] = ~index if outside else index


@compiled((_row, _indices, _rows, int64, int64, int64, writes(float32, 1)))
def _blend(
    values: np.ndarray,
    corner: np.ndarray,
    fraction: np.ndarray,
    stride0: int,
    stride1: int,
    stride2: int,
    out: np.ndarray,
) -> None:
    """Interpolate one row linearly between the eight corners of each voxel's cell."""
    # Unsigned indices: signed ones would be tested for counting from the end.
    step0, step1, step2 = np.uint32(stride0), np.uint32(stride1), np.uint32(stride2)
    for x in range(out.size):
        a = np.uint32(corner[x])
        b, c = a + step1, a + step0
        d = c + step1
        f0, f1, f2 = fraction[0, x], fraction[1, x], fraction[2, x]
        aa = values[a] + f2 * (values[a + step2] - values[a])
        bb = values[b] + f2 * (values[b + step2] - values[b])
        cc = values[c] + f2 * (values[c + step2] - values[c])
        dd = values[d] + f2 * (values[d + step2] - values[d])
        front = aa + f1 * (bb - aa)
        out[x] = front + f0 * (cc + f1 * (dd - cc) - front)


@compiled(
    (
        reads(float32, 4),
        reads(float64, 2),
        reads(float64, 1),
        reads(float32, 4),
        _rows,
        _rows,
        _rows,
        writes(float32, 4),
        writes(int32, 3),
    )
)
def resample(
    image: np.ndarray,
    matrix: np.ndarray,
    offset: np.ndarray,
    nodes: np.ndarray,
    basis_z: np.ndarray,
    basis_y: np.ndarray,
    basis_x: np.ndarray,
    out: np.ndarray,
    nearest: np.ndarray,
) -> None:
    """Read a volume at ``matrix @ p + offset + displacement(p)`` for every voxel p of the result.

    Coordinates outside are reflected at the outermost voxel centres, and beyond a second reflection held
    there.

    Parameters
    ----------
    image
        ``(C, n0, n1, n2)`` float32, fewer than 2³¹ voxels a channel.
    matrix, offset
        Result voxels to source voxels, ``(3, 3)`` and ``(3,)``.
    nodes
        Displacement in source voxels at the nodes of a b-spline, ``(3, k0, k1, k2)``; ``(3, 0, 0, 0)``
        for none.
    basis_z, basis_y, basis_x
        Weight of each node at each result voxel of an axis, ``(k, p)``.
    out
        ``(C, p0, p1, p2)``: the image, linear between voxels.
    nearest
        ``(p0, p1, p2)``: index of the nearest voxel in a flat channel of the source; its complement
        (``~index``) where the coordinate lay outside.
    """
    channels, n0, n1, n2 = image.shape
    flat = image.reshape((channels, n0 * n1 * n2))
    # The neighbour along an axis of a single voxel is that voxel.
    step0, step1, step2 = n1 * n2 * (n0 > 1), n2 * (n1 > 1), 1 * (n2 > 1)
    at = np.empty((3, out.shape[3]), np.float32)
    fraction = np.empty((3, out.shape[3]), np.float32)
    corner = np.empty(out.shape[3], np.int32)
    plane = np.empty((3, basis_y.shape[0], basis_x.shape[0]), np.float32)
    deformed = nodes.size > 0
    for z in range(out.shape[1]):
        if deformed:
            _over_z(nodes, basis_z, z, plane)
        for y in range(out.shape[2]):
            for axis in range(3):
                start = np.float32(offset[axis] + matrix[axis, 0] * z + matrix[axis, 1] * y)
                step = np.float32(matrix[axis, 2])
                for x in range(at.shape[1]):
                    at[axis, x] = start + step * np.float32(x)
            if deformed:
                _displace(plane, basis_y, basis_x, y, at)
            _locate(at, n0, n1, n2, fraction, corner, nearest[z, y])
            for c in range(channels):
                _blend(flat[c], corner, fraction, step0, step1, step2, out[c, z, y])


@compiled(*((reads(word, 1), _indices, writes(word, 1)) for word in WORDS))
def gather(values: np.ndarray, nearest: np.ndarray, out: np.ndarray) -> None:
    """Take ``values[nearest]``, with the index of the reflected voxel where `nearest` is a complement."""
    for i in range(nearest.size):
        index = nearest[i]
        out[i] = values[np.uint32(index ^ (index >> 31))]


@compiled((reads(WORDS[0], 1), _indices, writes(WORDS[0], 1)))
def gather_inside(values: np.ndarray, nearest: np.ndarray, out: np.ndarray) -> None:
    """Take ``values[nearest]``, and 0 where `nearest` is a complement."""
    for i in range(nearest.size):
        index = nearest[i]
        out[i] = values[np.uint32(index ^ (index >> 31))] * np.uint8(index >= 0)
