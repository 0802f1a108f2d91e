import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_segtrain.losses.supervision import coarser, level_weights


def test_weights_halve_and_sum_to_one():
    assert level_weights(1) == [1.0]
    assert level_weights(3) == pytest.approx([4 / 7, 2 / 7, 1 / 7])


@pytest.mark.parametrize("ndim", [2, 3])
def test_linear_is_the_mean_of_the_labelled_voxels_of_a_block(ndim):
    torch.manual_seed(0)
    target = torch.randn(2, 3, *(8,) * ndim)
    mask = torch.rand(2, 1, *(8,) * ndim) > 0.7
    small, known = coarser(target, mask, (4,) * ndim, "linear")
    assert small.shape == (2, 3, *(4,) * ndim)
    block = (slice(2, 4),) * ndim
    corner = (slice(1, 2),) * ndim
    for b in range(2):
        inside = mask[(b, 0, *block)]
        assert bool(known[(b, 0, *corner)].item()) == bool(inside.any())
        if inside.any():
            for c in range(3):
                expected = target[(b, c, *block)][inside].mean()
                torch.testing.assert_close(small[(b, c, *corner)].squeeze(), expected)


@given(
    seed=st.integers(0, 1000),
    size=st.tuples(st.integers(4, 13), st.integers(4, 13)),
    stride=st.tuples(st.sampled_from([1, 2, 4]), st.sampled_from([1, 2, 4])),
    interpolation=st.sampled_from(["nearest", "linear"]),
    outside=st.sampled_from([1e6, float("nan"), float("inf")]),
)
@settings(max_examples=60, deadline=None)
def test_unlabelled_values_never_get_in(seed, size, stride, interpolation, outside):
    generator = torch.Generator().manual_seed(seed)
    mask = torch.rand(1, 1, *size, generator=generator) > 0.5
    target = torch.where(mask, torch.rand(1, 2, *size, generator=generator), outside)
    new = tuple(max(1, n // s) for n, s in zip(size, stride, strict=True))
    small, known = coarser(target, mask, new, interpolation)
    assert small.shape[2:] == known.shape[2:] == new
    assert (small[known.expand_as(small)] <= 1.0).all()
    everything, all_known = coarser(target, torch.ones_like(mask), new, interpolation)
    assert all_known.all()
    assert everything.shape == small.shape


def test_class_numbers_are_never_averaged():
    target = torch.randint(0, 5, (1, 1, 8, 8)) * 2
    mask = torch.ones(1, 1, 8, 8, dtype=torch.bool)
    small, _ = coarser(target, mask, (4, 4), "linear")
    assert small.dtype == torch.int64
    assert set(small.unique().tolist()) <= set(target.unique().tolist())
    torch.testing.assert_close(small, target[..., 1::2, 1::2])


def test_the_finest_resolution_is_the_target_itself():
    target, mask = torch.rand(1, 1, 6, 6), torch.ones(1, 1, 6, 6, dtype=torch.bool)
    assert coarser(target, mask, (6, 6), "linear")[0] is target
