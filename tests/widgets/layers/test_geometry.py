from __future__ import annotations

import numpy as np
import pytest

from napari_segtrain.widgets.layers.geometry import Geometry, spatial_metadata

pytestmark = pytest.mark.gui


def layer(shape: tuple[int, ...] = (6, 20, 30), **options: object) -> object:
    from napari.layers import Image

    return Image(np.zeros(shape), **options)


def turned(ndim: int) -> object:
    """A layer with every kind of spatial metadata."""
    rng = np.random.default_rng(0)
    angle = 0.4
    rotate = np.eye(ndim)
    rotate[-2:, -2:] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    affine = np.eye(ndim + 1)
    affine[:ndim, ndim] = rng.uniform(-5, 5, ndim)
    affine[ndim - 1, ndim - 1] = 1.5
    return layer(
        (6, 20, 30)[-ndim:],
        scale=(2.0, 0.5, 0.25)[-ndim:],
        translate=(7.0, -3.0, 11.0)[-ndim:],
        rotate=rotate,
        shear=rng.uniform(-0.3, 0.3, ndim * (ndim - 1) // 2),
        affine=affine,
        units=("um",) * ndim,
        axis_labels=("z", "y", "x")[-ndim:],
    )


def remade(geometry: Geometry, shape: tuple[int, ...]) -> object:
    return layer(shape, **geometry.kwargs())


@pytest.mark.parametrize("ndim", [2, 3])
def test_a_new_layer_lies_where_the_old_one_does(ndim: int) -> None:
    old = turned(ndim)
    new = layer((6, 20, 30)[-ndim:], **spatial_metadata(old))
    for point in np.random.default_rng(1).uniform(-9, 30, (5, ndim)):
        np.testing.assert_allclose(new.data_to_world(point), old.data_to_world(point))
    assert (new.units, new.axis_labels) == (old.units, old.axis_labels)
    np.testing.assert_allclose(new.scale, old.scale)


@pytest.mark.parametrize("ndim", [2, 3])
def test_a_part_lies_where_its_voxels_do(ndim: int) -> None:
    old, start = turned(ndim), (2, 5, 7)[-ndim:]
    part = remade(Geometry.of(old).crop(start), (3,) * ndim)
    for index in np.ndindex((2,) * ndim):
        np.testing.assert_allclose(part.data_to_world(index), old.data_to_world(np.add(index, start)))


@pytest.mark.parametrize("ndim", [2, 3])
def test_a_coarser_level_covers_the_same_place(ndim: int) -> None:
    old = turned(ndim)
    coarse = remade(Geometry.of(old).coarser((2,) * ndim), (3,) * ndim)
    # The middle of voxel 0 of the coarse level is the middle of voxels 0 and 1 of the fine one.
    np.testing.assert_allclose(coarse.data_to_world((0,) * ndim), old.data_to_world((0.5,) * ndim))
    np.testing.assert_allclose(coarse.data_to_world((1,) * ndim), old.data_to_world((2.5,) * ndim))


def test_an_axis_can_be_left_out() -> None:
    channels = layer(
        (3, 20, 30), scale=(1, 2, 4), translate=(0, 5, 6), rotate=np.eye(3), axis_labels=("c", "y", "x")
    )
    plane = Geometry.of(channels).select([1, 2])
    assert (tuple(plane.scale), tuple(plane.translate), plane.axis_labels) == ((2, 4), (5, 6), ("y", "x"))
    again = remade(plane, (20, 30))
    np.testing.assert_allclose(again.data_to_world((3, 4)), channels.data_to_world((1, 3, 4))[1:])


def test_default_axis_labels_stay_default() -> None:
    assert Geometry.of(layer()).axis_labels is None
    assert layer((4, 4), **Geometry.of(layer()).select([1, 2]).kwargs()).axis_labels == ("-2", "-1")
