from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from napari_segtrain.config import DataError, DatasetConfig
from napari_segtrain.data import open_dataset
from napari_segtrain.runs import RunFolder
from napari_segtrain.runs.label_store import LabelStore
from napari_segtrain.training.label_history import LabelHistory
from napari_segtrain.widgets.layers import kept_labels
from napari_segtrain.widgets.layers.kept_labels import read_kept

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
