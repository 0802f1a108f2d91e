from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_segtrain.config import DataError, DatasetConfig, TargetConfig
from napari_segtrain.data import region_index
from napari_segtrain.data.index import PatchIndex
from napari_segtrain.data.index_rules import IndexRules
from napari_segtrain.data.records import Region
from napari_segtrain.targets import label_masks

SPARSE = {"a": TargetConfig(kind="binary", unlabelled=0)}
"""0 is unlabelled, 1 is background, 2 is foreground."""


def starts(size: int, patch: int, stride: int) -> list[int]:
    """Positions every stride, the last flush with the end; one where the patch is larger."""
    last = max(size - patch, 0)
    return sorted({*range(0, last + 1, stride), last})


def brute_force(labels, region, patch, stride, min_ratio=0.0, min_box=0.0, mask=None, foreground=False):
    """Look at every voxel of every position."""
    found = []
    shape = [b - a for a, b in zip(region.start, region.stop, strict=True)]
    axes = [starts(n, p, s) for n, p, s in zip(shape, patch, stride, strict=True)]
    for corner in itertools.product(*axes):
        box = tuple(
            slice(a + c, a + min(c + p, n))
            for a, c, p, n in zip(region.start, corner, patch, shape, strict=True)
        )
        values = labels[box]
        labelled = values > 0 if mask is None else (values > 0) & (mask[box] != 0)
        if foreground and not (labelled & (values == 2)).any():
            continue
        if not labelled.any() or labelled.mean() < min_ratio:
            continue
        extent = np.ptp(np.argwhere(labelled), axis=0) + 1
        if np.prod(extent) / values.size < min_box:
            continue
        found.append(
            tuple(
                a + c - (p - min(p, n)) // 2
                for a, c, p, n in zip(region.start, corner, patch, shape, strict=True)
            )
        )
    return found


@st.composite
def label_volumes(draw):
    ndim = draw(st.integers(2, 3))
    shape = tuple(draw(st.integers(3, 20)) for _ in range(ndim))
    rng = np.random.default_rng(draw(st.integers(0, 1000)))
    labels = rng.choice([0, 0, 0, 1, 2], shape).astype(np.uint8)
    labels *= rng.random(shape) < draw(st.sampled_from([0.02, 0.3, 1.0]))
    hole = tuple(slice(draw(st.integers(0, n - 1)), None) for n in shape)
    labels[hole] = draw(st.sampled_from([0, 1, 2]))
    start = tuple(draw(st.integers(0, n // 3)) for n in shape)
    region = Region("r", start, tuple(n - draw(st.integers(0, n // 4)) for n in shape))
    patch = tuple(draw(st.integers(1, 9)) for _ in range(ndim))
    stride = tuple(draw(st.integers(1, p)) for p in patch)
    chunks = tuple(draw(st.integers(1, 8)) for _ in range(ndim))
    mask = (rng.random(shape) < 0.6) if draw(st.booleans()) else None
    return labels, mask, region, patch, stride, chunks


def build(dataset, record, labels, region, patch, stride=None, mask=None, chunks=None, **config):
    masks = {} if mask is None else {"a": mask.astype(np.uint8)}
    rec = record("r", np.zeros(labels.shape, np.uint8), {"a": labels}, masks, chunks=chunks)
    settings_ = DatasetConfig(targets=SPARSE, **config)
    return rec, PatchIndex.build(dataset(rec), [region], patch, settings_, stride=stride)


def found(pool):
    return [spec.start for spec in pool]


@given(label_volumes(), st.sampled_from([0.0, 0.1, 0.5]), st.sampled_from([0.0, 0.4]))
@settings(deadline=None, max_examples=150)
def test_index_equals_a_look_at_every_voxel(dataset, record, case, min_ratio, min_box):
    labels, mask, region, patch, stride, chunks = case
    expected = brute_force(labels, region, patch, stride, min_ratio, min_box, mask)
    arguments = (dataset, record, labels, region, patch, stride, mask, chunks)
    limits = {"min_labeled_ratio": min_ratio, "min_bbox_percent": min_box}
    if not expected:
        with pytest.raises(DataError):
            build(*arguments, **limits)
        return
    _, index = build(*arguments, **limits)
    assert found(index.positions) == expected
    with_foreground = brute_force(labels, region, patch, stride, min_ratio, min_box, mask, foreground=True)
    assert found(index.foreground.get("a", [])) == with_foreground


@given(label_volumes(), st.integers(0, 10**6))
@settings(deadline=None, max_examples=40)
def test_the_nearest_position_is_the_nearest_of_all(dataset, record, case, seed):
    labels, mask, region, patch, stride, chunks = case
    if not brute_force(labels, region, patch, stride, mask=mask):
        return
    _, index = build(dataset, record, labels, region, patch, stride, mask, chunks)
    point = np.random.default_rng(seed).uniform(-5, 30, labels.ndim)

    def away(spec):
        inside = [
            (max(a, r) + min(b, e)) / 2
            for a, b, r, e in zip(spec.start, spec.stop, region.start, region.stop, strict=True)
        ]
        return np.square(np.subtract(inside, point)).sum()

    nearest = index.positions.nearest(point)
    assert nearest in list(index.positions)
    assert away(nearest) == min(away(spec) for spec in index.positions)


@given(label_volumes(), st.integers(0, 10**6))
@settings(deadline=None, max_examples=60)
def test_update_in_place_equals_a_new_index(dataset, record, case, seed):
    labels, mask, region, patch, stride, chunks = case
    corner = tuple(region.start)
    labels[corner] = 2
    mask = None if mask is None else mask | True
    rec, index = build(dataset, record, labels, region, patch, stride, mask, chunks)
    rng = np.random.default_rng(seed)
    low = [int(rng.integers(0, n)) for n in labels.shape]
    high = [int(rng.integers(a + 1, n + 1)) for a, n in zip(low, labels.shape, strict=True)]
    stroke = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
    rec.labels["a"].array[(0, *stroke)] = rng.integers(0, 3)
    rec.labels["a"].array[(0, *corner)] = 2
    index.update("r", "a", list(zip(low, high, strict=True)))
    index.update("r", "a", [(c, c + 1) for c in corner])
    again = PatchIndex.build(dataset(rec), [region], patch, DatasetConfig(targets=SPARSE), stride=stride)
    assert found(index.positions) == found(again.positions)
    assert found(index.foreground["a"]) == found(again.foreground["a"])


def test_edges_are_covered_and_positions_are_half_a_patch_apart(dataset, record):
    labels = np.ones((50, 41), np.uint8)
    _, index = build(dataset, record, labels, Region("r", (0, 0), (50, 41)), (20, 20))
    ys, xs = zip(*found(index.positions), strict=True)
    assert sorted(set(ys)) == [0, 10, 20, 30]
    assert sorted(set(xs)) == [0, 10, 20, 21]


def test_a_region_smaller_than_the_patch_lies_in_its_middle(dataset, record):
    labels = np.ones((30, 64), np.uint8)
    region = Region("r", (10, 0), (20, 64))
    _, index = build(dataset, record, labels, region, (16, 32), min_labeled_ratio=0.9)
    assert {start[0] for start in found(index.positions)} == {7}
    crop = index.positions[0].crop()
    assert crop.source[0] == slice(10, 20)
    assert crop.padding[0] == (3, 3)


def test_memory_is_bounded_by_blocks_and_each_voxel_is_read_once(monkeypatch, dataset, record):
    monkeypatch.setattr(region_index, "BLOCK_VOXELS", 16**3)
    labels = np.ones((48, 48, 48), np.uint8)
    rec, _ = build(dataset, record, labels, Region("r", (0,) * 3, (48,) * 3), (16,) * 3, chunks=(16, 16, 16))
    assert rec.labels["a"].largest == 16**3
    assert rec.labels["a"].voxels_read == 48**3


def test_a_stroke_costs_its_cells_not_the_volume(dataset, record):
    labels = np.ones((160, 160), np.uint8)
    rec, index = build(dataset, record, labels, Region("r", (0, 0), (160, 160)), (16, 16))
    before = rec.labels["a"].voxels_read
    rec.labels["a"].array[0, 40:44, 40:44] = 2
    assert index.update("r", "a", [(40, 44), (40, 44)])
    assert rec.labels["a"].voxels_read - before <= 16 * 16
    assert all(s[0] in range(25, 44) and s[1] in range(25, 44) for s in found(index.foreground["a"]))
    assert len(index.foreground["a"]) == 4


def test_a_stroke_elsewhere_touches_nothing_and_a_wrong_one_is_refused(dataset, record):
    labels = np.ones((64, 64), np.uint8)
    _, index = build(dataset, record, labels, Region("r", (0, 0), (32, 64)), (16, 16))
    assert not index.update("other", "a", [(0, 4), (0, 4)])
    assert not index.update("r", "a", [(40, 44), (0, 4)])
    with pytest.raises(DataError, match="Did you mean 'a'"):
        index.update("r", "A", [(0, 4), (0, 4)])
    with pytest.raises(DataError, match="2"):
        index.update("r", "a", [(0, 4)])


def test_erasing_everything_keeps_the_old_places_and_says_so(dataset, record, caplog):
    labels = np.ones((32, 32), np.uint8)
    rec, index = build(dataset, record, labels, Region("r", (0, 0), (32, 32)), (16, 16))
    rec.labels["a"].array[:] = 0
    index.update("r", "a", [(0, 32), (0, 32)])
    assert len(index) == 9
    assert "paint" in caplog.text
    rec.labels["a"].array[0, 0, 0] = 1
    index.update("r", "a", [(0, 1), (0, 1)])
    assert found(index.positions) == [(0, 0)]


def test_a_target_that_shares_its_label_file_is_updated_with_it(dataset, record, source):
    labels = np.zeros((32, 32), np.uint8)
    labels[0, 0] = 1
    rec = record("r", labels, {"a": labels, "b": labels})
    rec.labels["b"] = rec.labels["a"]
    targets = {
        "a": TargetConfig(kind="binary", unlabelled=0, labels="cells"),
        "b": TargetConfig(kind="binary", values=(3,), labels="cells"),
    }
    index = PatchIndex.build(
        dataset(rec), [Region("r", (0, 0), (32, 32))], (16, 16), DatasetConfig(targets=targets)
    )
    assert "b" not in index.foreground
    rec.labels["a"].array[0, 20:24, 20:24] = 3
    index.update("r", "a", [(20, 24), (20, 24)])
    assert len(index.foreground["b"]) > 0


def test_messages_say_what_is_missing(dataset, record):
    region = Region("r", (0, 0), (32, 32))
    with pytest.raises(DataError, match=r"no labelled voxel for target.*'a'"):
        build(dataset, record, np.zeros((32, 32), np.uint8), region, (16, 16))
    few = np.zeros((32, 32), np.uint8)
    few[:4, :4] = 1
    with pytest.raises(DataError, match=r"at least 0\.5.*largest labelled share is 0\.062"):
        build(dataset, record, few, region, (16, 16), min_labeled_ratio=0.5)
    rec = record("r", few, {"a": few})
    settings_ = DatasetConfig(targets=SPARSE)
    with pytest.raises(DataError, match="no painted foreground"):
        PatchIndex.build(dataset(rec), [region], (16, 16), settings_, foreground_only=True)
    with pytest.raises(DataError, match="no image"):
        PatchIndex.build(dataset(rec), [], (16, 16), settings_)


def test_classes_are_pooled_one_by_one_when_balanced(dataset, record):
    labels = np.zeros((64, 64), np.uint8)
    labels[:32] = 1
    labels[60, 60] = 2
    rec = record("r", labels, {"a": labels})
    region = Region("r", (0, 0), (64, 64))
    plain = DatasetConfig(targets={"a": TargetConfig(kind="classes")})
    assert PatchIndex.build(dataset(rec), [region], (16, 16), plain).view.classes == {}
    balanced = PatchIndex.build(dataset(rec), [region], (16, 16), plain.replace(balance_classes=True))
    pools = balanced.view.classes["a"]
    assert set(pools) == {1, 2}
    assert found(pools[2]) == [(48, 48)]
    assert len(pools[1]) == len(balanced.foreground["a"]) - 1


def test_many_values_are_instances_and_not_balanced(dataset, record):
    labels = np.arange(64 * 64, dtype=np.int32).reshape(64, 64)
    rec = record("r", labels, {"a": labels})
    settings_ = DatasetConfig(targets={"a": TargetConfig()}, balance_classes=True)
    index = PatchIndex.build(dataset(rec), [Region("r", (0, 0), (64, 64))], (16, 16), settings_)
    assert index.view.classes == {}
    assert len(index.foreground["a"]) == len(index) == 49


class Stored:
    """A source with a file behind it, as the cache wants it."""

    def __init__(self, source, path: Path) -> None:
        self._source = source
        self.path = path

    def __getattr__(self, name):
        return getattr(self._source, name)

    def __repr__(self) -> str:
        return f"<stored {self.path.name}>"


def test_the_cache_is_used_for_the_same_content_only(tmp_path, dataset, record):
    labels = np.zeros((64, 64), np.uint8)
    labels[:5, :5] = 2
    file = tmp_path / "labels.raw"
    rec = record("r", labels, {"a": labels})
    rec.labels["a"] = Stored(rec.labels["a"], file)
    file.write_bytes(labels.tobytes())
    arguments = (dataset(rec), [Region("r", (0, 0), (64, 64))], (16, 16), DatasetConfig(targets=SPARSE))

    def read_for(**config) -> int:
        before = rec.labels["a"].voxels_read
        index = PatchIndex.build(*arguments[:3], arguments[3].replace(**config), tmp_path / "cache")
        assert found(index.positions) == found(PatchIndex.build(*arguments).positions)
        return rec.labels["a"].voxels_read - before - 64 * 64

    assert read_for() == 64 * 64
    assert read_for() == 0
    assert read_for(targets={"a": TargetConfig(kind="binary", unlabelled=0, values=(2,))}) == 64 * 64
    assert read_for() == 64 * 64, "other targets replace what was kept"
    rec.labels["a"].array[0, 40, 40] = 2
    file.write_bytes(rec.labels["a"].array.tobytes())
    assert read_for() == 64 * 64
    (next((tmp_path / "cache").iterdir())).write_bytes(b"PK\x03\x04 nonsense")
    assert read_for() == 64 * 64


def test_a_cache_folder_that_cannot_be_written_costs_time_only(tmp_path, dataset, record, caplog):
    labels = np.ones((32, 32), np.uint8)
    (tmp_path / "l").write_bytes(b"1")
    rec = record("r", labels, {"a": labels})
    rec.labels["a"] = Stored(rec.labels["a"], tmp_path / "l")
    (tmp_path / "file").write_text("not a folder")
    data, region = dataset(rec), Region("r", (0, 0), (32, 32))
    index = PatchIndex.build(data, [region], (16, 16), DatasetConfig(targets=SPARSE), tmp_path / "file")
    assert len(index) == 9
    assert "not kept" in caplog.text


READINGS = (
    TargetConfig(kind="binary", unlabelled=0),
    TargetConfig(kind="classes", unlabelled=3),
    TargetConfig(kind="classes", values=(1, 0, 3)),
    TargetConfig(kind="binary", values=(2, 300)),
    TargetConfig(kind="regression"),
    TargetConfig(unlabelled=-1),
)
"""Every way in which label values can mean something."""


@given(
    label_volumes(),
    st.sampled_from(["?", "u1", "i1", "u2", "i2", "u4", "i4", "u8", "i8", "f4", ">i2"]),
    st.sampled_from(READINGS),
    st.booleans(),
)
@settings(deadline=None, max_examples=60)
def test_cells_hold_what_a_look_at_every_voxel_says(record, case, dtype, target, runs):
    labels, mask, region, patch, stride, chunks = case
    labels = labels.astype(np.int64) * np.array([1, 1, 3])[labels]
    if runs:
        labels[labels == 6] = -1 if np.dtype(dtype).kind in "if" else 2
        labels = np.repeat(labels[..., ::3], 3, axis=-1)[..., : labels.shape[-1]]
    labels = labels.astype(np.dtype(dtype).newbyteorder("="))
    rules = IndexRules({"a": target}, balance=True)
    rec = record(
        "r", labels, {"a": labels}, {} if mask is None else {"a": mask.astype(np.uint8)}, chunks=chunks
    )
    part = region_index.RegionIndex(rec, region, patch, stride, rules)
    part.count_all()
    cells, edges = part.cells["a"], part.grid.edges
    foreground, labelled = label_masks(labels, target, ndim=labels.ndim)
    if mask is not None:
        foreground, labelled = foreground & mask, labelled & mask
    for cell in np.ndindex(part.grid.cells):
        box = tuple(
            slice(a + int(e[i]), a + int(e[i + 1])) for a, e, i in zip(region.start, edges, cell, strict=True)
        )
        assert cells.labelled[cell] == labelled[box].sum()
        assert cells.foreground[cell] == foreground[box].sum()
        if labelled[box].any():
            places = np.argwhere(labelled[box]) + [int(e[i]) for e, i in zip(edges, cell, strict=True)]
            assert cells.low[(slice(None), *cell)].tolist() == places.min(axis=0).tolist()
            assert (-cells.high[(slice(None), *cell)]).tolist() == places.max(axis=0).tolist()
        values, counts = np.unique(labels[box][foreground[box]], return_counts=True)
        if rules.balances("a") and labels.dtype.kind != "f":
            assert {v: c[cell] for v, c in cells.classes.items() if c[cell]} == dict(
                zip(values.tolist(), counts.tolist(), strict=True)
            )


def test_labels_of_several_targets_are_read_once_and_what_nobody_wrote_never(monkeypatch, dataset, record):
    monkeypatch.setattr(region_index, "BLOCK_VOXELS", 16**2)
    labels = np.zeros((64, 64), np.uint8)
    labels[:16, :16] = 2
    rec = record("r", labels, {"a": labels, "b": labels, "c": labels}, chunks=(16, 16))
    shared = rec.labels["a"]
    shared.written_boxes = lambda: [(slice(0, 16), slice(0, 16))]
    rec.labels.update(b=shared, c=shared)
    targets = {
        "a": TargetConfig(kind="binary", unlabelled=0, labels="cells"),
        "b": TargetConfig(kind="binary", values=(2,), labels="cells"),
        "c": TargetConfig(kind="classes", values=(0, 2), labels="cells"),
    }
    config = DatasetConfig(targets=targets, balance_classes=True)
    index = PatchIndex.build(dataset(rec), [Region("r", (0, 0), (64, 64))], (16, 16), config)
    assert shared.voxels_read == 16 * 16
    assert len(index) == 49, "zeros are background of b and c, whoever wrote them"
    assert found(index.foreground["b"]) == found(index.foreground["c"]) == [(0, 0), (0, 8), (8, 0), (8, 8)]
