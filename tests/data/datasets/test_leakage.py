import numpy as np
import pytest

from napari_segtrain.data import Region, Split, find_leakage, make_split, open_layers
from napari_segtrain.data.leakage import seed_that_separates
from napari_segtrain.data.records import Record
from napari_segtrain.data.sources.base import Source


def layers(*images):
    labels = [np.ones(image.shape, np.uint8) for image in images]
    items = zip("abcdefgh", images, labels, strict=False)
    return open_layers([{"id": name, "image": i, "labels": {"cells": m}} for name, i, m in items])


def noise(seed, shape=(50, 60)):
    return np.random.default_rng(seed).integers(0, 255, shape).astype(np.uint8)


def whole(dataset, **parts):
    return Split(
        **{
            part: tuple(Region(name, (0,) * dataset.ndim, dataset.records[name].shape) for name in names)
            for part, names in parts.items()
        }
    )


@pytest.mark.parametrize("shape", [(50, 60), (9, 40, 70)])
def test_the_same_content_in_two_parts_is_said_whatever_it_is_called_and_stored_as(shape):
    images = [noise(seed, shape) for seed in (0, 1, 0, 2, 1)]
    images[2] = images[2].astype(np.uint16)
    dataset = layers(*images)
    apart = whole(dataset, train="ac", val="d", test="be")
    assert find_leakage(dataset, apart) == ()
    [sentence] = find_leakage(dataset, whole(dataset, train="ab", val="d", test="ce"))
    assert sentence.startswith(
        "train and test have the same image content: a = c, b = e. The scores on test are"
    )
    both = find_leakage(dataset, whole(dataset, train="a", val="cb", test="e"))
    assert [text.partition(" have")[0] for text in both] == ["train and validation", "validation and test"]


def test_images_that_differ_in_one_voxel_are_different():
    one = noise(0)
    other = one.copy()
    other[0, 0] += 1
    dataset = layers(one, other)
    assert find_leakage(dataset, whole(dataset, train="a", test="b")) == ()
    blank = layers(np.zeros((50, 60)), np.zeros((50, 61)))
    assert find_leakage(blank, whole(blank, train="a", test="b")) == ()


def test_regions_that_share_voxels_are_said_once():
    dataset = layers(noise(0), noise(1))
    parts = {
        "train": (Region("a", (0, 0), (30, 60)), Region("b", (0, 0), (10, 10))),
        "val": (Region("a", (29, 0), (50, 30)), Region("a", (20, 40), (50, 60))),
        "test": (Region("b", (10, 0), (50, 60)),),
    }
    [sentence] = find_leakage(dataset, Split(**parts))
    assert sentence.startswith(
        "train and validation share voxels of a: the scores on validation are too good"
    )


def test_what_is_not_at_hand_is_passed_over():
    dataset = layers(noise(0))
    gone = Region("gone", (0, 0), (50, 60)), Region("a", (0, 60), (50, 99))
    assert find_leakage(dataset, Split(train=gone, test=whole(dataset, test="a").test)) == ()


class Counted:
    """Counts the voxels that are read of an image."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self.voxels = 0

    def __getattr__(self, name):
        return getattr(self._source, name)

    def read(self, region):
        found = self._source.read(region)
        self.voxels += found.size
        return found


def test_only_images_that_look_alike_are_read_as_a_whole_and_no_more_than_a_limit(monkeypatch):
    dataset = layers(noise(0, (300, 400)), noise(1, (300, 400)), noise(0, (300, 400)))
    for name, record in list(dataset.records.items()):
        dataset.records[name] = Record(record.id, Counted(record.image), record.labels)
    split = whole(dataset, train="ab", test="c")
    assert len(find_leakage(dataset, split)) == 1
    read = {name: record.image.voxels for name, record in dataset.records.items()}
    assert read["b"] <= 32 * 32
    assert read["a"] == read["c"] == 32 * 32 + 300 * 400
    monkeypatch.setattr("napari_segtrain.data.leakage.MOST_IMAGE_VOXELS", 100_000)
    monkeypatch.setattr("napari_segtrain.data.leakage.BLOCK_VOXELS", 128 * 128)
    before = dataset.records["a"].image.voxels
    assert len(find_leakage(dataset, split)) == 1
    assert dataset.records["a"].image.voxels - before < 32 * 32 + 70_000


def test_a_seed_is_known_only_where_copies_are_what_leaks():
    def seed(*images):
        dataset = layers(*images)
        return seed_that_separates(dataset, lambda seed: make_split(dataset, 0.5, seed), 0)

    assert seed(noise(0), noise(1), noise(2)) is None
    found = seed(noise(0), noise(1), noise(0), noise(2))
    dataset = layers(noise(0), noise(1), noise(0), noise(2))
    assert found != 0 and find_leakage(dataset, make_split(dataset, 0.5, found)) == ()
    assert seed(noise(0), noise(0)) is None
