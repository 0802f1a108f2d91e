"""Parts that share no voxel and no neighbourhood."""

from __future__ import annotations

import itertools
import json

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from napari_segtrain.config import DataError, DatasetConfig
from napari_segtrain.data import (
    Region,
    Split,
    check_dataset,
    describe_split,
    make_split,
    open_folder,
    open_layers,
)

SPARSE = DatasetConfig.model_validate({"targets": {"a": {"unlabelled": 0}}})


def layers(*labels: np.ndarray | None, config: DatasetConfig | None = None, ndim: int | None = None):
    specs = []
    for k, painted in enumerate(labels):
        spec = {"id": f"i{k}", "image": np.zeros((16, 20) if painted is None else painted.shape, np.uint8)}
        specs.append(spec | ({} if painted is None else {"labels": {"a": painted}}) | {"ndim": ndim})
    return open_layers(specs, config)


def painted(*shape: int) -> np.ndarray:
    return np.ones(shape, np.uint8)


@given(st.integers(2, 30), st.floats(0.05, 0.95), st.integers(0, 5))
@settings(deadline=None)
def test_whole_images_are_drawn(count: int, share: float, seed: int) -> None:
    dataset = layers(*[painted(8, 9)] * count, None)
    split = make_split(dataset, share, seed)
    train, val = {r.record for r in split.train}, {r.record for r in split.val}
    assert train | val == {f"i{k}" for k in range(count)} and not train & val and split.test == ()
    assert len(train) == min(max(1, round(share * count)), count - 1)
    assert all(r.shape == (8, 9) and r.start == (0, 0) for r in split.train + split.val)
    assert make_split(dataset, share, seed) == split


def test_another_seed_draws_other_images() -> None:
    dataset = layers(*[painted(8, 9)] * 20)
    assert len({make_split(dataset, 0.5, seed) for seed in range(8)}) > 6


def test_stacks_are_drawn_whole_and_one_stack_is_cut_into_runs() -> None:
    dataset = layers(painted(5, 8, 9), painted(6, 8, 9), painted(7, 8, 9), ndim=2)
    split = make_split(dataset, 0.7, 0)
    stacks = [{dataset.records[r.record].group for r in part} for part in (split.train, split.val)]
    assert len(stacks[0]) == 2 and len(stacks[1]) == 1 and not stacks[0] & stacks[1]
    for seed, count in itertools.product(range(4), (2, 3, 10, 40)):
        split = make_split(layers(painted(count, 8, 9), ndim=2), 0.8, seed)
        train, val = (
            sorted(int(r.record.split("[")[1][:-1]) for r in part) for part in (split.train, split.val)
        )
        assert train and val
        assert train == list(range(train[0], train[-1] + 1)) and val == list(range(val[0], val[-1] + 1))
        between = val[0] - train[-1] - 1 if val[0] > train[0] else train[0] - val[-1] - 1
        assert between == {2: 0, 3: 0, 10: 2, 40: 4}[count]
        assert count < 10 or abs(len(train) / (len(train) + len(val)) - 0.8) < 0.1


@given(
    shape=st.lists(st.integers(8, 60), min_size=2, max_size=3).map(tuple),
    patch=st.integers(4, 80),
    share=st.floats(0.3, 0.9),
    seed=st.integers(0, 3),
)
@settings(deadline=None, max_examples=60, suppress_health_check=list(HealthCheck))
def test_blocks_of_one_image_keep_half_a_patch_between(shape, patch, share, seed) -> None:
    split = make_split(layers(painted(*shape)), share, seed, (patch,) * len(shape))
    (train,), (val,) = split.train, split.val
    gaps = [
        max(v0 - t1, t0 - v1)
        for t0, t1, v0, v1 in zip(train.start, train.stop, val.start, val.stop, strict=True)
    ]
    axis = int(np.argmax(gaps))
    assert gaps[axis] >= min(patch, shape[axis]) / 2
    assert not train.overlaps(val)
    assert min(train.shape) > 0 and min(val.shape) > 0
    assert all(0 <= a < b <= n for r in (train, val) for a, b, n in zip(r.start, r.stop, shape, strict=True))
    if all(n > 3 * patch for n in shape):
        kept = train.shape[axis] / (train.shape[axis] + val.shape[axis])
        assert abs(kept - share) < 0.15


def test_both_blocks_get_something_that_is_painted() -> None:
    labels = np.zeros((400, 400), np.uint8)
    labels[10:30, 10:390] = 1  # scribbles along the upper border
    labels[10:30, 200:210] = 2
    labels[10:30, 350:355] = 2
    dataset = layers(labels, config=SPARSE)
    for seed in range(5):
        split = make_split(dataset, 0.8, seed, (64, 64))
        (train,), (val,) = split.train, split.val
        for region in (train, val):
            assert set(np.unique(labels[region.slices])) == {0, 1, 2}
        counts = [np.count_nonzero(labels[r.slices]) for r in (train, val)]
        assert abs(counts[0] / sum(counts) - 0.8) < 0.15
        assert val.start[1] - train.stop[1] >= 32 or train.start[1] - val.stop[1] >= 32


def test_labels_too_close_together_leave_no_validation() -> None:
    labels = np.zeros((400, 400), np.uint8)
    labels[200:220, 200:220] = 1
    split = make_split(layers(labels, config=SPARSE), 0.8, 0, (64, 64))
    assert split.val == () and split.train == (Region("i0", (0, 0), (400, 400)),)


def test_where_labels_are_masked_out_counts_as_nothing() -> None:
    labels, mask = painted(60, 200), np.zeros((60, 200), bool)
    mask[:, :100] = True
    spec = {"image": np.zeros((60, 200)), "labels": {"a": labels}, "masks": {"a": mask}}
    split = make_split(open_layers([spec]), 0.5, 0, (16, 16))
    assert all(mask[r.slices].any() for r in split.train + split.val)


def test_without_labels_there_is_nothing_to_split() -> None:
    with pytest.raises(DataError, match="no image has labels"):
        make_split(layers(None))
    with pytest.raises(DataError, match="must lie between 0 and 1"):
        make_split(layers(painted(8, 9)), 1.0)
    with pytest.raises(DataError, match="has 3 numbers, but the data is 2D"):
        make_split(layers(painted(8, 9)), 0.8, 0, (4, 4, 4))


def test_only_one_labelled_image_is_cut_into_blocks() -> None:
    split = make_split(layers(painted(64, 64), None, None), 0.8, 0, (16, 16))
    assert {r.record for r in split.train + split.val} == {"i0"}


@pytest.fixture
def three(make_folder, noise, blobs):
    arrays = {f"images/{i}.npy": noise(16, 20) for i in "abc"}
    return make_folder(arrays | {f"labels/{i}_x.npy": blobs(16, 20) for i in "abc"})


def write_split(root, content) -> None:
    (root / "split.json").write_text(json.dumps(content))


def test_a_split_file_decides(three) -> None:
    content = {
        "train": [{"image": "a"}, {"image": "b", "region": [[0, 8], [0, 20]]}],
        "val": [{"image": "b", "region": [[8, 16], [0, 20]]}],
        "test": ["c"],
        "about": {"ndim": 2},
    }
    write_split(three, content)
    split = make_split(open_folder(three), 0.1, 3, (4, 4))
    assert split.train == (Region("a", (0, 0), (16, 20)), Region("b", (0, 0), (8, 20)))
    assert split.val == (Region("b", (8, 0), (16, 20)),)
    assert split.test == (Region("c", (0, 0), (16, 20)),)
    assert Split.from_dict(json.loads(json.dumps(split.to_dict()))) == split
    write_split(three, split.to_dict())  # what a run writes is a split file again
    assert make_split(open_folder(three)) == split


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"train": [{"image": "A"}]}, "train names the image 'A', which is not there. Did you mean 'a'"),
        ({"train": [{"image": "a", "region": [[0, 8], [0, 21]]}]}, "does not lie in its shape"),
        ({"train": [{"image": "a", "region": [[8, 8], [0, 20]]}]}, "does not lie in its shape"),
        ({"train": [{"image": "a", "region": [[0, 8]]}]}, "does not lie in its shape"),
        ({"train": [{"image": "a", "region": [[0, 8], [0, 1.5]]}]}, "does not lie in its shape"),
        ({"train": ["a"], "valid": ["b"]}, "unknown part 'valid'. Did you mean 'val'"),
        ({"train": "a"}, "train is not a list"),
        ({"train": [3]}, "train has 3"),
        ({"val": ["a"]}, "no image is in train"),
        ({"train": ["a"], "val": ["a"]}, "train and val both claim voxels of 'a'"),
        (
            {"train": ["b"], "val": [{"image": "a", "region": [[0, 9], [0, 20]]}], "test": [{"image": "a"}]},
            "val and test both claim voxels of 'a'",
        ),
    ],
)
def test_faults_of_a_split_file(three, content, message) -> None:
    write_split(three, content)
    dataset = open_folder(three)
    with pytest.raises(DataError) as error:
        make_split(dataset)
    assert message in str(error.value)
    assert any(message in text for text in check_dataset(dataset).errors)


def test_a_split_file_of_volumes_serves_for_their_planes(make_folder, noise) -> None:
    root = make_folder({"images/v.npy": noise(10, 16, 20), "labels/v_x.npy": noise(10, 16, 20)})
    write_split(
        root,
        {
            "train": [{"image": "v", "region": [[0, 6], [0, 16], [0, 20]]}],
            "val": [{"image": "v", "region": [[6, 8], [4, 16], [0, 20]]}],
            "test": [{"image": "v[8]"}, {"image": "v[9]", "region": [[0, 8], [0, 8]]}],
        },
    )
    split = make_split(open_folder(root, DatasetConfig(ndim=2)))
    assert [r.record for r in split.train] == [f"v[{k}]" for k in range(6)]
    assert split.val == (Region("v[6]", (4, 0), (16, 20)), Region("v[7]", (4, 0), (16, 20)))
    assert split.test == (Region("v[8]", (0, 0), (16, 20)), Region("v[9]", (0, 0), (8, 8)))


def test_regions_read_back_or_say_why_not() -> None:
    region = Region("a", (1, 2), (3, 5))
    assert region.shape == (2, 3) and region.slices == (slice(1, 3), slice(2, 5))
    assert Region.from_dict(region.to_dict()) == region
    assert region.overlaps(Region("a", (2, 4), (9, 9)))
    assert not region.overlaps(Region("a", (3, 2), (9, 9))) and not region.overlaps(
        Region("b", (1, 2), (3, 5))
    )
    for wrong in ({"image": "a"}, {"region": [[0, 1]]}, {"image": "a", "region": [[0]]}):
        with pytest.raises(DataError, match="is not a region"):
            Region.from_dict(wrong)
    with pytest.raises(DataError, match="is not a part of a split"):
        Split().part("validation")  # type: ignore[arg-type]


def test_a_split_in_words() -> None:
    images = layers(*[painted(8, 9)] * 7, None)
    ids = sorted(r.record for r in make_split(images, 0.9).val)
    assert describe_split(images, make_split(images, 0.9))[1] == f"validation: 1 image: {ids[0]}"
    assert describe_split(images, make_split(images, 0.9))[0].startswith("train: 6 images: i")
    stacks = layers(*[painted(5, 8, 9)] * 3, ndim=2)
    assert describe_split(stacks, make_split(stacks, 0.7))[0].startswith("train: 10 images of 2 stacks: i")
    stack = layers(painted(12, 8, 9), ndim=2)
    planes = [Region(f"i0[{k}]", (0, 0), (8, 9)) for k in range(12)]
    assert describe_split(stack, Split(train=(*planes[:3], planes[4]), val=tuple(planes[6:]))) == (
        "train: 4 of 12 planes: i0[0] to i0[2], i0[4]",
        "validation: 6 of 12 planes: i0[6] to i0[11]",
        "used by none: i0[3], i0[5]",
    )
    one = layers(painted(40, 10))
    blocks = [Region("i0", (a, 0), (b, 10)) for a, b in ((0, 20), (24, 30), (30, 40))]
    assert describe_split(one, Split(*((block,) for block in blocks))) == (
        "train: 1 block: i0 [0:20, 0:10]",
        "validation: 1 block: i0 [24:30, 0:10]",
        "test: 1 block: i0 [30:40, 0:10]",
        "gap: 10.0% of the voxels are between the parts and used by none",
    )
    whole = Split(train=(Region("i0", (0, 0), (40, 10)),))
    assert describe_split(one, whole) == ("train: 1 image: i0", "validation: nothing")
