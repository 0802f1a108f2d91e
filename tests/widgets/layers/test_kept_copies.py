"""What a run keeps of its layers, and which open layers hold the same."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from napari_segtrain.config import DataError
from napari_segtrain.runs import RunFolder, read_data, write_data
from napari_segtrain.runs.scratch import Scratch
from napari_segtrain.widgets.layers import shared_copy
from napari_segtrain.widgets.layers.kept_copies import (
    add_copies,
    compare_copies,
    in_words,
    kept_copies,
    read_copies,
)
from napari_segtrain.widgets.layers.kept_labels import kept_note

pytestmark = pytest.mark.gui


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    return RunFolder.create(tmp_path, "base")


def keep(run: RunFolder, **layers: np.ndarray) -> Any:
    """Let a run keep copies of layers, and return where its data is."""
    scratch = Scratch.create(run.project)
    labels = {name: {**scratch.add(name, values), "name": name} for name, values in layers.items()}
    write_data(run, {"layers": [{"id": "im", "image": next(iter(labels.values())), "labels": labels,
                                 "masks": {}}]})  # fmt: skip
    scratch.remove()
    return read_data(run)


def compared(viewer: Any, run: RunFolder) -> Any:
    return compare_copies(kept_copies(read_data(run), list(viewer.layers), run))


def test_a_layer_with_other_values_is_named_with_how_many(
    viewer: Any, run: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shared_copy, "_AT_ONCE", 20)  # several blocks
    kept = np.arange(80, dtype=np.uint8).reshape(8, 10)
    keep(run, same=kept, other=kept, thin=kept[None], half=np.where(kept > 4, np.nan, kept / 2))
    viewer.add_labels(kept.astype(np.int64), name="same")
    other = viewer.add_labels(kept.copy(), name="other")
    viewer.add_labels(kept, name="thin")
    viewer.add_image(np.where(kept > 4, np.nan, kept / 2), name="half")
    viewer.add_labels(kept, name="of no run")
    other.data[[0, 3, 7], 5] = 99
    found = compared(viewer, run)
    assert set(found.chosen) == {"same", "thin", "half"}
    words = "the layer 'other' holds other labels than the run has kept of it (3 voxels differ)"
    assert in_words(found.differing) == words
    other.paint((1, 1), 7)
    other.undo()
    assert compared(viewer, run).chosen["other"] is other, "it was painted on here"


def test_labels_opened_from_the_run_count_where_the_layer_itself_differs(viewer: Any, run: RunFolder) -> None:
    kept = np.ones((8, 9), np.uint8)
    keep(run, painted=kept)
    viewer.add_labels(np.zeros((8, 9), np.uint8), name="painted")
    opened = viewer.add_labels(kept.copy(), name="opened", metadata=kept_note(run.path, "painted"))
    assert compared(viewer, run).chosen == {"painted": opened}
    opened.data[0] = 5
    found = compared(viewer, run)
    assert not found.chosen
    assert "'painted'" in in_words(found.differing) and "(72 voxels differ)" in in_words(found.differing)


def test_what_is_kept_is_opened_where_the_layer_lies(viewer: Any, run: RunFolder) -> None:
    kept, numbers = np.ones((1, 8, 9), bool), np.full((8, 9), 0.5)
    keep(run, painted=kept, numbers=numbers)
    old = viewer.add_labels(np.zeros((8, 9), np.uint8), name="painted", scale=(2, 3))
    viewer.add_image(np.zeros((8, 9)), name="numbers")
    found = compared(viewer, run)
    assert "; " in in_words(found.differing)
    added = add_copies(viewer, found.differing, read_copies(found.differing), run)
    assert not old.visible
    assert [layer.name for layer in added.values()] == ["painted · base", "numbers · base"]
    assert added["painted"].data.shape == (8, 9) and added["painted"].data.all()
    np.testing.assert_array_equal(added["painted"].scale, old.scale)
    np.testing.assert_array_equal(added["numbers"].data, numbers)
    assert compared(viewer, run).chosen == added


def test_nothing_is_compared_where_nothing_is_kept(viewer: Any, run: RunFolder, tmp_path: Path) -> None:
    kept = np.ones((8, 9), np.uint8)
    viewer.add_labels(kept, name="painted")
    own = {**Scratch(tmp_path / "own").add("painted", kept), "name": "painted"}
    for data in ("/data/cells", None, {"layers": [{"labels": {"a": own}, "masks": {}}]}):
        assert kept_copies(data, list(viewer.layers), run) == []
    keep(run, painted=np.ones((9, 9), np.uint8))
    assert kept_copies(read_data(run), list(viewer.layers), run) == [], "another shape is another layer"


def test_a_layer_that_cannot_be_read_is_named(viewer: Any, run: RunFolder) -> None:
    class Torn(np.ndarray):
        def __getitem__(self, place: Any) -> Any:
            raise OSError("gone")

    keep(run, painted=np.ones((8, 9), np.uint8))
    viewer.add_labels(np.zeros((8, 9), np.uint8), name="painted")
    [copy] = kept_copies(read_data(run), list(viewer.layers), run)
    torn = copy.candidates[0].__class__(viewer.layers[0], np.zeros((8, 9)).view(Torn), 0, False)
    with pytest.raises(DataError, match=r"'painted': its voxels cannot be read \(OSError: gone\)"):
        compare_copies([copy.__class__(copy.name, copy.spec, (torn,))])
