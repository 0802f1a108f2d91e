from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from napari_segtrain.config import DataError, DatasetConfig
from napari_segtrain.data import open_dataset
from napari_segtrain.runs import RunFolder, write_data
from napari_segtrain.runs.label_store import LabelStore
from napari_segtrain.training.label_history import LabelHistory
from napari_segtrain.widgets.layers import kept_labels
from napari_segtrain.widgets.layers.kept_labels import add_kept, read_kept, stand_ins

pytestmark = pytest.mark.gui


def test_of_many_images_the_labels_of_those_that_are_open_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = RunFolder.create(tmp_path, "a")
    painted = {name: np.full((4, 5), number, np.uint8) for number, name in enumerate("abc", start=1)}
    layers = [{"id": name, "image": values, "labels": {"cell": values}} for name, values in painted.items()]
    history = LabelHistory(open_dataset({"layers": layers}, DatasetConfig()), LabelStore(run.path))
    history.start()
    history.store.note(1, history.state())
    assert [kept.image for kept in read_kept(run.path, ["b"])] == ["a", "b", "c"]
    monkeypatch.setattr(kept_labels, "_MOST_IMAGES", 2)
    [found] = read_kept(run.path, ["b", "other"])
    assert (found.image, found.name) == ("b", "b_cell")
    np.testing.assert_array_equal(found.values, painted["b"])
    for opened in ([], ["a", "b", "c"]):
        with pytest.raises(DataError, match=r"labels of 3 images, too many .* segtrain labels"):
            read_kept(run.path, opened)


def test_opened_labels_note_the_run_and_the_layer_that_they_are_of(
    viewer: Any, cells: Any, tmp_path: Path
) -> None:
    run = RunFolder.create(tmp_path, "a")
    painted = np.array(cells[1].data)
    layer = {"id": "cells", "image": painted, "labels": {"cell": painted}}
    history = LabelHistory(open_dataset({"layers": [layer]}, DatasetConfig()), LabelStore(run.path))
    history.start()
    history.store.note(1, history.state())
    add_kept(viewer, read_kept(run.path), run.path)
    assert stand_ins(viewer.layers, run.path) == {}, "which layer it was is not known"
    spec = {"kind": "memmap", "path": str(tmp_path / "gone.raw"), "name": "painted"}
    write_data(run, {"layers": [{"id": "cells", "image": spec, "labels": {"cell": spec}, "masks": {}}]})
    for _ in range(2):
        add_kept(viewer, read_kept(run.path), run.path)
    assert stand_ins(viewer.layers, run.path) == {"painted": viewer.layers[-1]}
    assert stand_ins(viewer.layers, tmp_path) == stand_ins(viewer.layers, None) == {}
