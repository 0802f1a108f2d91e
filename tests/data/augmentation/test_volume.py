from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from napari_segtrain.data.augmentation import SpatialParameters
from napari_segtrain.data.augmentation.elastic import basis
from napari_segtrain.data.augmentation.exact import center_offset
from napari_segtrain.data.augmentation.frame import Frame
from napari_segtrain.data.augmentation.plane import resample_plane
from napari_segtrain.data.augmentation.volume import resample_volume


def source_coordinates(frame, params, source_size):
    """Return where each voxel of the patch is read, ``(ndim, *patch)`` float64, step by step."""
    matrix = frame.matrix(params)
    offset = center_offset(matrix, source_size, frame.patch_size)
    voxels = np.stack(np.meshgrid(*(np.arange(n) for n in frame.patch_size), indexing="ij"))
    shape = (-1, *(1,) * frame.ndim)
    coordinates = np.tensordot(matrix, voxels, axes=1) + offset.reshape(shape)
    if params.elastic is not None:
        for axis in range(frame.ndim):
            field = params.elastic[axis]
            for size in frame.patch_size:
                # The first axis is used up and the new one goes last, so each turn meets its own axis.
                field = np.tensordot(field, basis(field.shape[0], size), axes=(0, 0))
            coordinates[axis] += field / frame.spacing[axis]
    return coordinates


def some_params(ndim, seed, elastic):
    rng = np.random.default_rng(seed)
    nodes = rng.uniform(-1.5, 1.5, (ndim, *(4, 5, 6)[:ndim])) if elastic else None
    return SpatialParameters(
        tuple(bool(f) for f in rng.random(ndim) < 0.5),
        int(rng.integers(4)),
        tuple(rng.uniform(-1, 1, 1 if ndim == 2 else 3)),
        float(rng.uniform(0.7, 1.4)),
        nodes,
    )


@settings(deadline=None, max_examples=30)
@given(st.sampled_from([2, 3]), st.integers(0, 2**32), st.booleans())
def test_resampling_agrees_with_scipy(ndim, seed, elastic):
    frame = Frame((9, 11, 14)[3 - ndim :], (2.0, 1.0, 1.5)[3 - ndim :])
    params = some_params(ndim, seed, elastic)
    size = (14, 15, 17)[3 - ndim :]
    rng = np.random.default_rng(seed)
    image = ndimage.gaussian_filter(rng.normal(size=(2, *size)), (0, *(1.0,) * ndim)).astype(np.float32)
    label = rng.integers(0, 99, size)
    resample = resample_plane if ndim == 2 else resample_volume
    moved, labels, masks = resample(frame, params, image, {"a": label}, {"a": np.ones(size, bool)})
    where = source_coordinates(frame, params, size)
    expected = [ndimage.map_coordinates(c, where, order=1, mode="mirror") for c in image]
    last = np.reshape(np.asarray(size) - 1, (-1, *(1,) * ndim))
    # Beyond a second reflection the two differ on purpose: there a coordinate is held.
    once = ((where > -last) & (where < 2 * last)).all(axis=0)
    # OpenCV counts in steps of 1/32 pixel.
    tolerance = 0.05 if ndim == 2 else 1e-4
    assert np.abs(moved - np.stack(expected))[:, once].max() < tolerance
    inside = ((where >= -0.5) & (where <= last + 0.5)).all(axis=0)
    nearest = np.clip(np.rint(where).astype(int), 0, last)
    on_edge = (np.abs(where - np.floor(where) - 0.5) < (0.02 if ndim == 2 else 1e-3)).any(axis=0)
    assert np.array_equal(masks["a"][~on_edge], inside[~on_edge])
    looked_at = inside & ~on_edge
    assert np.array_equal(labels["a"][looked_at], label[tuple(nearest)][looked_at])


def test_a_single_slice_is_resampled():
    frame = Frame((1, 8, 8), (1.0, 1.0, 1.0))
    image = np.random.default_rng(0).random((1, 1, 12, 12), dtype=np.float32)
    params = SpatialParameters((False,) * 3, 0, (0.3, 0.0, 0.0))
    moved, _, masks = resample_volume(frame, params, image, {}, {"all": np.ones((1, 12, 12), bool)})
    flat = Frame((8, 8), (1.0, 1.0))
    expected = resample_plane(flat, SpatialParameters((False,) * 2, 0, (0.3,)), image[0], {}, {})[0]
    assert masks["all"].all()
    assert np.abs(moved[0] - expected).max() < 0.05


def test_crops_beyond_the_index_are_refused():
    image = np.broadcast_to(np.float32(0), (1, 2**11, 2**10, 2**10))
    frame = Frame((4, 4, 4), (1.0, 1.0, 1.0))
    with pytest.raises(ValueError, match="too large to resample"):
        resample_volume(frame, SpatialParameters((False,) * 3, 0, (0.1, 0.0, 0.0)), image, {}, {})
