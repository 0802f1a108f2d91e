from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_segtrain.config import DatasetConfig, TargetConfig
from napari_segtrain.data import sampling
from napari_segtrain.data.index import PatchIndex
from napari_segtrain.data.patches import PatchSpec
from napari_segtrain.data.records import Region
from napari_segtrain.data.sampling import GridSampler, RandomSampler, sample_stream


@pytest.fixture(scope="session")
def index(dataset, record):
    def build(labels, patch, *, region=None, stride=None, kind="binary", unlabelled=0, **config):
        rec = record("r", labels, {"a": labels})
        region = region or Region("r", (0,) * labels.ndim, labels.shape)
        targets = {"a": TargetConfig(kind=kind, unlabelled=unlabelled)}
        settings_ = DatasetConfig(targets=targets, **config)
        return PatchIndex.build(dataset(rec), [region], patch, settings_, stride=stride)

    return build


def draws(sampler, count, epoch=0, seed=0):
    return [sampler.draw(epoch, n, sample_stream(seed, epoch, n)) for n in range(count)]


def box(spec: PatchSpec):
    return tuple(slice(a, b) for a, b in zip(spec.start, spec.stop, strict=True))


def test_streams_depend_on_seed_epoch_and_number_and_differ():
    keys = [(s, e, n) for s in (0, 1) for e in (0, 1) for n in range(50)]
    first = {key: sample_stream(*key).integers(2**62) for key in keys}
    assert len(set(first.values())) == len(keys)
    assert sample_stream(1, 1, 49).integers(2**62) == first[1, 1, 49]


def test_samples_repeat_for_a_seed_and_epoch_and_change_with_either(index):
    built = index(np.ones((64, 64), np.uint8), (16, 16))
    again = index(np.ones((64, 64), np.uint8), (16, 16))
    base = draws(RandomSampler(built, 0, 0.3), 40)
    assert draws(RandomSampler(again, 0, 0.3), 40) == base
    assert draws(RandomSampler(again, 0, 0.3), 40, epoch=1) != base
    assert draws(RandomSampler(again, 1, 0.3), 40, seed=1) != base


def test_the_order_of_asking_does_not_matter(index):
    sampler = RandomSampler(index(np.ones((64, 64), np.uint8), (16, 16)), 0, 0.3)
    base = draws(sampler, 120)
    backwards = [sampler.draw(0, n, sample_stream(0, 0, n)) for n in reversed(range(120))]
    assert backwards[::-1] == base


def test_an_epoch_goes_through_every_position_once(index):
    built = index(np.ones((80, 80), np.uint8), (16, 16))
    sampler = RandomSampler(built, 0, 0.0)
    anchors = [s.anchor for s in draws(sampler, 2 * len(built))]
    first, second = anchors[: len(built)], anchors[len(built) :]
    assert sorted(first) == sorted(second) == sorted(s.start for s in built.positions)
    assert first != second


def test_very_many_positions_are_drawn_independently(index, monkeypatch):
    monkeypatch.setattr(sampling, "MOST_SHUFFLED", 10)
    built = index(np.ones((80, 80), np.uint8), (16, 16))
    anchors = [s.anchor for s in draws(RandomSampler(built, 0, 0.0), 400)]
    assert len(set(anchors)) > 70
    assert len(set(anchors[: len(built)])) < len(built)


@given(st.integers(0, 10**6), st.sampled_from([(20, 24), (40, 17), (10, 33), (12, 30, 26)]))
@settings(deadline=None, max_examples=40)
def test_moved_patches_stay_inside_and_hold_labels(index, seed, shape):
    labels = np.zeros(shape, np.uint8)
    rng = np.random.default_rng(seed)
    for _ in range(3):
        labels[tuple(rng.integers(1, n - 1) for n in shape)] = rng.integers(1, 3)
    region = Region("r", (1,) * len(shape), tuple(n - 1 for n in shape))
    built = index(labels, (8,) * len(shape), region=region)
    for spec in draws(RandomSampler(built, seed, 0.5), 30, seed=seed):
        crop = spec.crop()
        assert all(s.start >= 1 and s.stop <= n - 1 for s, n in zip(crop.source, shape, strict=True))
        assert not crop.padded
        assert (labels[crop.source] > 0).any()
        assert all(abs(a - b) <= 2 for a, b in zip(spec.start, spec.anchor, strict=True))


def test_moves_reach_every_start(index):
    built = index(np.ones((40,) * 2, np.uint8), (16, 16))
    seen = {s.start for s in draws(RandomSampler(built, 0, 0.0), 6000)}
    assert {a for a, _ in seen} == {b for _, b in seen} == set(range(25))


def test_foreground_comes_in_the_asked_share(index):
    labels = np.ones((160, 160), np.uint8)
    labels[100:104, 100:104] = 2
    built = index(labels, (16, 16))

    def share(asked):
        specs = draws(RandomSampler(built, 0, asked), 300)
        return np.mean([(labels[box(s)] == 2).any() for s in specs])

    assert share(1.0) == 1.0
    assert share(0.0) < 0.05
    assert share(0.5) == pytest.approx(0.5, abs=0.08)


def test_rare_classes_are_seen_as_often_as_frequent_ones_when_balanced(index):
    labels = np.zeros((160, 160), np.uint8)
    labels[:120] = 1
    labels[150:154, 150:154] = 2

    def share_of_rare(**config):
        built = index(labels, (16, 16), kind="classes", unlabelled=None, **config)
        specs = draws(RandomSampler(built, 0, 1.0, config.get("balance_classes", False)), 300)
        return np.mean([(labels[box(s)] == 2).any() for s in specs])

    assert share_of_rare() < 0.1
    assert share_of_rare(balance_classes=True) == pytest.approx(0.5, abs=0.08)


def test_every_target_gets_its_share_of_the_foreground(dataset, record):
    common, rare = np.ones((128, 128), np.uint8), np.zeros((128, 128), np.uint8)
    rare[5, 5] = 1
    rec = record("r", common, {"common": common, "rare": rare})
    targets = {name: TargetConfig(kind="binary") for name in ("common", "rare")}
    region = Region("r", (0, 0), (128, 128))
    built = PatchIndex.build(dataset(rec), [region], (16, 16), DatasetConfig(targets=targets))
    specs = draws(RandomSampler(built, 0, 1.0), 200)
    assert np.mean([rare[box(s)].any() for s in specs]) == pytest.approx(0.5, abs=0.1)


@st.composite
def regions(draw):
    ndim = draw(st.integers(2, 3))
    start = tuple(draw(st.integers(0, 5)) for _ in range(ndim))
    stop = tuple(a + draw(st.integers(1, 30)) for a in start)
    return start, stop, tuple(draw(st.integers(1, 12)) for _ in range(ndim))


@given(regions())
@settings(deadline=None)
def test_the_grid_covers_every_voxel_and_overlaps_at_the_far_edge_only(index, case):
    start, stop, patch = case
    built = index(
        np.ones([n + 2 for n in stop], np.uint8), patch, region=Region("r", start, stop), stride=patch
    )
    seen = np.zeros([n + 2 for n in stop], int)
    sampler = GridSampler(built)
    specs = draws(sampler, len(sampler))
    for spec in specs:
        seen[spec.crop().source] += 1
    inside = tuple(slice(a, b) for a, b in zip(start, stop, strict=True))
    assert (seen[inside] > 0).all()
    assert seen.sum() == seen[inside].sum()
    before_the_last = tuple(slice(a, max(a, b - p)) for a, b, p in zip(start, stop, patch, strict=True))
    assert (seen[before_the_last] == 1).all()
    expected = np.prod([max(1, -(-(b - a) // p)) for a, b, p in zip(start, stop, patch, strict=True)])
    assert len(specs) == expected


def test_a_short_grid_is_spread_evenly_and_the_same_each_time(index):
    built = index(np.ones((160, 16), np.uint8), (16, 16), stride=(16, 16))
    sampler = GridSampler(built, most=5)
    ys = [s.start[0] for s in draws(sampler, len(sampler))]
    assert ys == [0, 32, 64, 96, 128]
    assert len(GridSampler(built, most=50)) == 10


def test_a_crop_around_a_patch_is_cut_at_the_region_and_padded():
    spec = PatchSpec(Region("r", (4, 0), (30, 40)), (4, 10), (8, 8), (4, 10))
    crop = spec.crop((12, 12))
    assert crop.source == (slice(4, 14), slice(8, 20))
    assert crop.padding == ((2, 0), (0, 0))
    image = np.arange(10 * 12, dtype=np.float32).reshape(1, 10, 12)
    padded = crop.pad_image(image)
    assert padded.shape == (1, 12, 12)
    np.testing.assert_array_equal(padded[0, :2], image[0, 2:0:-1])
    np.testing.assert_array_equal(crop.pad_labels(image[0], 7)[:2], np.full((2, 12), 7))


def test_padding_larger_than_the_image_is_reflected_again_and_again():
    spec = PatchSpec(Region("r", (0, 0), (3, 1)), (-4, -3), (11, 7), (-4, -3))
    padded = spec.crop().pad_image(np.array([[[1.0], [2.0], [3.0]]]))
    np.testing.assert_array_equal(padded[0, :, 0], [1, 2, 3, 2, 1, 2, 3, 2, 1, 2, 3])
    assert padded.shape == (1, 11, 7)


# -------------------------------------------------------------------------------- painted lately


def painted_lately(index, shape, patch, *boxes, lasting=10, **config):
    """Return an index of a strip of labels, told of boxes that were painted since at batch 5."""
    labels = np.zeros(shape, np.uint8)
    labels[..., :4] = 1
    built = index(labels, patch, **config)
    before = built.view
    for place in boxes:
        labels[tuple(slice(*side) for side in place)] = 1
        assert built.update("r", "a", place, now=5, lasting=lasting)
    return before, built


def overlap(one, other):
    return one.start < other.stop and other.start < one.stop


def of_batch(size):
    return lambda epoch, number: 8 * epoch + number // size


@pytest.mark.parametrize(("shape", "patch"), [((96, 96), (16, 16)), ((24, 48, 48), (8, 16, 16))])
def test_what_was_painted_lately_is_drawn_more_often_for_a_while(index, shape, patch):
    place = [(n - 12, n - 8) for n in shape]
    before, built = painted_lately(index, shape, patch, place)
    inside = tuple(slice(*side) for side in place)
    sampler = RandomSampler(built, 0, 0.0, recent_share=0.5, batch_of=of_batch(40))

    def share(count, epoch):
        specs = draws(sampler, count, epoch=epoch)
        return np.mean([all(map(overlap, box(spec), inside)) for spec in specs])

    assert not before.recent
    assert share(320, 0) > 0.45, "batches 0 to 7, before 15"
    assert share(320, 2) < 0.3, "batches 16 to 23, after 15"
    plain = RandomSampler(built, 0, 0.0)
    assert draws(sampler, 40, epoch=2) == draws(plain, 40, epoch=2), "as if nothing had been painted"


def test_every_place_painted_lately_is_drawn_as_often_as_every_other(index):
    scribble, dab = [(40, 44), (10, 90)], [(80, 84), (80, 84)]
    _, built = painted_lately(index, (96, 96), (16, 16), scribble, dab, dab)
    sampler = RandomSampler(built, 0, 0.0, recent_share=1.0)
    specs = draws(sampler, 200)
    assert len(built.view.recent) == 2
    assert 60 < sum(spec.start[0] > 60 for spec in specs) < 140
    for spec in specs:
        assert overlap(box(spec)[0], slice(40, 44)) or spec.stop[0] > 80


def test_a_place_of_which_all_was_erased_is_not_preferred(index):
    place = [(80, 84), (80, 84)]
    _, built = painted_lately(index, (96, 96), (16, 16), place)
    assert built.view.recent
    built._regions[0]._record.labels["a"].array[0, 80:84, 80:84] = 0
    built.update("r", "a", place, now=6, lasting=10)
    assert built.view.recent == ()


def test_what_is_preferred_is_the_same_after_a_restart(index):
    boxes = [[(40, 44), (10, 90)], [(80, 84), (80, 84)]]
    _, built = painted_lately(index, (96, 96), (16, 16), *boxes)
    _, again = painted_lately(index, (96, 96), (16, 16), *boxes, lasting=0)
    assert not again.view.recent
    again.restore_recent(built.recent_state(6))
    options = {"recent_share": 0.5, "batch_of": of_batch(4)}
    one, other = (draws(RandomSampler(i, 0, 0.3, **options), 80) for i in (built, again))
    assert one == other
    assert built.recent_state(15) == []
    again.restore_recent(
        [{"region": 3, "cells": [[0, 1]], "until": 9}, {"region": 0, "cells": [[0, 99]] * 2, "until": 9}]
    )
    assert len(again.view.recent) == 2, "places that the data does not have"
