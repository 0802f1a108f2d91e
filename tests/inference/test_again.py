from __future__ import annotations

import copy
from pathlib import Path

import numpy as np
import pytest
import zarr

from napari_segtrain.config import InferenceConfig
from napari_segtrain.inference import Job, Output, ZarrSink, again, measured, note_parts, separate_instances
from napari_segtrain.inference.again import separate_again
from napari_segtrain.inference.kept_parts import KeptParts, kept_parts
from napari_segtrain.inference.measured import measure_objects
from napari_segtrain.inference.outputs import InstanceParts

WHERE = (slice(0, 24), slice(0, 30))


def two_discs() -> tuple[np.ndarray, np.ndarray]:
    """Two touching discs: foreground, and how far inside."""
    y, x = np.mgrid[:24, :30]
    inside = np.maximum(*(1 - np.hypot(y - 12, x - centre) / 8 for centre in (9, 21))).astype(np.float16)
    return (inside > 0).astype(np.float16), np.clip(inside, 0, 1)


def separated(parts: KeptParts, first: tuple | None = None, **settings: object) -> tuple[np.ndarray, list]:
    result, written = np.zeros(parts.size, np.int32), []

    def write(where: tuple, labels: np.ndarray) -> None:
        result[where] = labels
        written.append(where)

    inference = InferenceConfig(min_size=1).replace(**settings)
    assert separate_again(parts, inference, write, lambda share: True, first)
    return result, written


def test_what_a_store_kept_gives_the_same_objects_again_and_others(tmp_path: Path) -> None:
    foreground, distance = two_discs()
    outputs = [
        Output("cells~part", "part", 1, slice(0, 1)),
        Output("cells_distance~part", "part", 1, slice(1, 2)),
        Output("cells", "instances", 1, None),
    ]
    job = Job((24, 30), (1.0, 1.0), "pixel", (0, 0), 2, dict, dict)
    for keep in (False, True):
        sink = ZarrSink(tmp_path / f"{keep}.zarr", keep_parts=keep)
        sink.open(job, outputs, (24, 30))
        sink.write(WHERE, {"cells~part": foreground[None], "cells_distance~part": distance[None]})
        sink.close(True)
        note_parts(sink.path, {"cells": InstanceParts("cells", None, "cells_distance")}, 2, (1.0, 4.0))
        assert [name for name, _ in zarr.open_group(str(sink.path)).arrays()] == ["cells"]
        assert list(kept_parts(sink.path)) == (["cells"] if keep else [])
    parts = kept_parts(tmp_path / "True.zarr")["cells"]
    assert isinstance(parts.foreground, zarr.Array) and parts.boundary is None and parts.ndim == 2
    for one in (parts, parts.loaded(), copy.deepcopy(parts)):
        assert one.size == (24, 30) and one.nbytes == 2 * 2 * 24 * 30
        for settings in ({}, {"seed_threshold": 0.05}, {"min_size": 1000}, {"threshold": 1.0}):
            expected = separate_instances(
                foreground, distance=distance, inference=InferenceConfig(min_size=1).replace(**settings)
            )
            np.testing.assert_array_equal(separated(one, **settings)[0], expected)
    # The discs' seeds are 6 steps apart, each as long as four along the other axis.
    assert parts.spacing == parts.loaded().spacing == (1.0, 4.0)
    assert [separated(parts, seed_distance=distance)[0].max() for distance in (6.1, 24, 24.1)] == [2, 2, 1]
    assert separated(parts)[0].max() == 2 and separated(parts, seed_threshold=0.05)[0].max() == 1


def test_what_is_looked_at_comes_first_and_the_end_is_the_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(again, "_GLANCE", 100)
    foreground, distance = two_discs()
    stack = KeptParts(np.stack([foreground] * 3), None, np.stack([distance] * 3), 2)
    view = (slice(1, 2), slice(4, 20), slice(2, 16))
    result, written = separated(stack, view)
    assert written[0] == view and written[1:] == [(slice(n, n + 1), *WHERE) for n in range(3)]
    assert [result[n].max() for n in range(3)] == [2, 4, 6], "planes are separate images"
    volume = KeptParts(stack.foreground, None, stack.distance, 3)
    result, written = separated(volume, view)
    assert written == [view, (slice(0, 3), *WHERE)] and result.max() == 2
    asked: list[float] = []
    ended = separate_again(stack, InferenceConfig(), lambda *_: None, lambda s: bool(asked.append(s)), view)
    assert not ended and asked == [0.0]


def test_objects_are_measured_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    labels = np.zeros((5, 6, 7), np.int32)
    labels[1:4, 2:4, 3] = 7
    labels[4, 5, 0:3] = 2
    image = np.arange(2 * labels.size, dtype=np.float32).reshape(2, *labels.shape)
    for at_once in (2**20, 50):
        monkeypatch.setattr(measured, "_AT_ONCE", at_once)
        table = measure_objects(labels, lambda where: image[(slice(None), *where)])
        assert table is not None
        assert table["label"].tolist() == [2, 7] and table["voxels"].tolist() == [3, 6]
        np.testing.assert_allclose(table["centre"], [[4, 5, 1], [2, 2.5, 3]])
        expected = [[channel[labels == n].mean() for channel in image] for n in (2, 7)]
        np.testing.assert_allclose(table["intensity"], expected)
    empty = measure_objects(np.zeros((4, 4), np.int32), lambda where: image[:, 0, :4, :4])
    assert empty is not None and empty["label"].size == 0 and len(empty["intensity"]) == 0
    assert measure_objects(labels, None, lambda: False) is None
