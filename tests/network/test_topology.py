import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_segtrain.network.topology import (
    MINIMUM_MAP,
    default_patch_size,
    plan_topology,
    round_up,
)


@pytest.mark.parametrize(
    ("patch", "stages"),
    [((64,) * 3, 5), ((128,) * 3, 6), ((192,) * 3, 6), ((256,) * 3, 7), ((512, 512), 8), ((100, 100), 5)],
)
def test_stages_follow_from_an_isotropic_patch(patch, stages):
    topology = plan_topology(patch, (1.0,) * len(patch))
    assert len(topology.strides) == stages
    assert set(topology.kernel_sizes) == {(3,) * len(patch)}
    assert topology.strides[0] == (1,) * len(patch)
    assert set(topology.strides[1:]) == {(2,) * len(patch)}


def test_a_coarse_axis_is_pooled_and_convolved_later():
    topology = plan_topology((64, 64, 64), (5.0, 1.0, 1.0))
    # z is five times coarser: in reach after two poolings in the plane (5 against 4), pooled from then on.
    assert topology.strides[:4] == ((1, 1, 1), (1, 2, 2), (1, 2, 2), (2, 2, 2))
    assert topology.kernel_sizes[:3] == ((1, 3, 3), (1, 3, 3), (3, 3, 3))


def test_anisotropy_counts_only_among_axes_that_can_still_be_pooled():
    # The plane is used up after two poolings; z alone goes on although it has become the finest.
    topology = plan_topology((64, 16, 16), (1.0, 1.0, 1.0))
    assert topology.strides == ((1, 1, 1), (2, 2, 2), (2, 2, 2), (2, 1, 1), (2, 1, 1))


def test_two_dimensions_know_anisotropy_too():
    assert plan_topology((64, 64), (4.0, 1.0)).strides[:3] == ((1, 1), (1, 2), (1, 2))


def test_the_number_of_poolings_can_be_limited():
    assert len(plan_topology((256, 256), (1, 1), max_poolings=2).strides) == 3
    assert len(plan_topology((256, 256), (1, 1), max_poolings=0).strides) == 1


sizes = st.lists(st.integers(4, 300), min_size=2, max_size=3)


@given(sizes, st.data())
def test_every_map_keeps_the_minimum_and_divides_the_rounded_patch(size, data):
    spacing = data.draw(st.lists(st.floats(0.1, 10), min_size=len(size), max_size=len(size)))
    topology = plan_topology(size, spacing)
    rounded = round_up(size, topology.divisor)
    for axis, (divisor, patch, wanted) in enumerate(zip(topology.divisor, rounded, size, strict=True)):
        assert patch % divisor == 0
        assert wanted <= patch < wanted + divisor
        assert patch // divisor >= MINIMUM_MAP
        kernels = [kernel[axis] for kernel in topology.kernel_sizes]
        assert kernels == sorted(kernels)


@given(st.lists(st.integers(8, 3000), min_size=2, max_size=3), st.data())
def test_the_default_patch_fits_the_image_and_the_budget(shape, data):
    spacing = data.draw(st.lists(st.floats(0.2, 5), min_size=len(shape), max_size=len(shape)))
    patch = default_patch_size(shape, spacing)
    assert all(4 <= p <= max(4, s) for p, s in zip(patch, shape, strict=True))
    assert math.prod(patch) <= 1.5 * (256**2 if len(shape) == 2 else 64**3)


def test_the_default_patch_is_as_long_in_physical_units():
    assert default_patch_size((250, 250, 250), (1, 1, 1)) == (64, 64, 64)
    assert default_patch_size((1000, 1000, 1000), (4.0, 1.0, 1.0)) == (25, 102, 102)
    assert default_patch_size((1000, 40), (1.0, 1.0)) == (1000, 40)
