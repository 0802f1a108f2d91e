"""A data folder in the Train dock."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QFileDialog, QPushButton, QSpinBox

from napari_segtrain.runs import RunFolder, read_data
from napari_segtrain.widgets.docks.train_dock import TrainDock
from napari_segtrain.widgets.sessions.training_session import State

pytestmark = pytest.mark.gui


def write(folder: Path, **arrays: Any) -> None:
    for name, array in arrays.items():
        kind, _, stem = name.partition("__")
        (folder / kind).mkdir(parents=True, exist_ok=True)
        tifffile.imwrite(folder / kind / f"{stem}.tif", array)


def click(qtbot: Any, dock: Any, name: str) -> None:
    qtbot.mouseClick(dock.findChild(QPushButton, name), Qt.MouseButton.LeftButton)


def test_a_folder_is_shown_previewed_and_trained_on(
    qtbot: Any,
    viewer: Any,
    make_dock: Callable[[type], Any],
    tmp_path: Path,
    until: Callable[..., None],
    monkeypatch: pytest.MonkeyPatch,
    notes: list[tuple[str, str]],
) -> None:
    rng, painted = np.random.default_rng(0), np.zeros((40, 50), np.uint8)
    painted[5:9, 5:30], painted[20:30, 20:40] = 1, 2
    data = tmp_path / "data"
    write(
        data,
        images__a=rng.integers(0, 255, (40, 50)).astype(np.uint8),
        images__b=rng.integers(0, 255, (48, 64)).astype(np.uint8),
        labels__a_nuclei=painted,
        masks__a_nuclei=np.ones((40, 50), np.uint8),
        labels__b_nuclei=np.pad(painted, ((0, 8), (0, 14))),
    )
    dock = make_dock(TrainDock)
    monkeypatch.setattr(QFileDialog, "getExistingDirectory", lambda *_: str(data))
    click(qtbot, dock, "use_folder")
    until(lambda: dock.form.folder.facts is not None)
    table, (card,) = dock.form.folder.table, dock.form.targets.cards
    cells = [[table.item(row, column).text() for column in range(3)] for row in range(table.rowCount())]
    assert cells == [["a · 40 × 50", "nuclei", "nuclei"], ["b · 48 × 64", "nuclei", "–"]]
    assert dock.value().dataset_config.targets["nuclei"].labels is None
    assert card.labels.offered() == ["nuclei"], "names of files, not layers"
    card.form.editors["unlabelled"].set_value(0)
    until(lambda: "12 % labelled: background 3.9 %" in card.glance.text.text())

    assert dock.form.data().spec == str(data)
    click(qtbot, dock, "open_image")
    until(lambda: len(viewer.layers) == 3)
    assert [layer.name for layer in viewer.layers] == ["a", "a_nuclei", "a_nuclei_mask"]
    assert dock.form.images.value() == ("a",)
    until(dock.form.folder.look.isEnabled)
    click(qtbot, dock, "open_image")
    until(lambda: ("info", "'a' is open already") in notes)
    assert len(viewer.layers) == 3
    words = "a: a_nuclei in the place of its files, which stay as they are"
    assert dock.form.facts.text() == words
    dock.form.images.set_value(())
    data_spec = dock.form.data()
    assert (data_spec.spec, list(data_spec.images)) == (str(data), ["a"]), "for previews alone"
    dock.form.images.set_value(("a",))
    viewer.add_image(np.zeros((30, 30), np.uint8), name="extra")
    dock.form.images.set_value(("a", "extra"))
    click(qtbot, dock, "start")
    assert "'extra': ticked to be trained on beside the folder" in notes[-1][1]
    viewer.add_labels(painted[:30, :30].copy(), name="extra_nuclei")
    assert dock.form.facts.text().splitlines() == ["extra: extra_nuclei beside", words]
    dock.set_value(dock.value())
    assert dock.form.targets.cards[0].labels.currentText() == "nuclei", "files by their name, not a layer"
    files = {path: path.read_bytes() for path in data.rglob("*.tif")}
    dock.findChild(QSpinBox, "num_epochs").setValue(500)
    click(qtbot, dock, "start")
    until(lambda: dock.session.state is State.RUNNING)
    run = RunFolder.open(dock.session.run)
    stored = read_data(run)
    assert stored["folder"] == str(data)
    assert {entry["id"]: sorted(entry["labels"]) for entry in stored["layers"]} == {
        "a": ["nuclei"], "extra": ["nuclei"],
    }  # fmt: skip
    live = {f"{name} · nuclei · live" for name in ("a", "extra")}
    until(lambda: live <= {layer.name for layer in viewer.layers})
    viewer.layers["a_nuclei"].paint((35, 45), 2)
    until(lambda: viewer.layers["a · nuclei · live"].data[35, 45] == 2)
    click(qtbot, dock, "stop")
    until(lambda: dock.session.state is State.IDLE)
    assert files == {path: path.read_bytes() for path in data.rglob("*.tif")}

    # Gone on with: the folder and the layers, as they are now.
    viewer.layers["extra_nuclei"].paint((25, 25), 1)
    dock.projects.look()
    until(lambda: dock.resumable.value() == run.path)
    click(qtbot, dock, "resume")
    until(lambda: not dock._opening)
    assert notes[-1][1].startswith(f"base goes on with its folder {data} and the open layers")
    until(lambda: dock.session.state is State.RUNNING)
    assert (dock.form.folder.value(), set(dock.form.images.value())) == (data, {"a", "extra"})
    until(lambda: dock.form.targets.cards[0].labels.currentText() == "nuclei")
    assert dock.value().dataset_config.targets["nuclei"].labels is None
    click(qtbot, dock, "stop")
    until(lambda: dock.session.state is State.IDLE)

    # What does not fit together is said before any training.
    write(data, images__odd=np.zeros((40, 50, 3), np.uint8))
    dock.form.folder.set_value(data)
    until(lambda: "'odd' has 3 channel(s), the others have 1" in dock.form.folder.words.text())
    dock.form.folder.set_value(tmp_path / "nowhere")
    until(lambda: "does not exist" in dock.form.folder.words.text())
    click(qtbot, dock, "use_layers")
    assert dock.form.images.isVisibleTo(dock)
    [card] = dock.form.targets.cards
    assert card.labels.currentText() == "extra_nuclei", "a layer again"


def test_what_needs_no_image_is_asked_of_a_folder_that_is_not_open(
    qtbot: Any,
    viewer: Any,
    make_dock: Callable[[type], Any],
    tmp_path: Path,
    until: Callable[..., None],
    notes: list[tuple[str, str]],
) -> None:
    painted = np.zeros((40, 50), np.uint8)
    painted[20:30, 20:40] = 1
    image = np.random.default_rng(0).integers(0, 255, (40, 50)).astype(np.uint8)
    names = ("a", "b", "c")
    write(
        tmp_path,
        **{f"images__{name}": image for name in names},
        **{f"labels__{name}_nuclei": painted for name in names},
    )
    dock = make_dock(TrainDock)
    dock.form.folder.set_value(tmp_path)
    until(lambda: dock.form.folder.facts is not None)
    dock.set_value(dock.value().with_overrides({"tr_config.optimizer.lr": 0.5}))

    click(qtbot, dock, "diagnose")
    until(lambda: not dock.previews.busy)
    assert [finding.sentence for finding in dock.findings.value()] == ["too fast", "worth knowing"]
    click(qtbot, dock, "preview_split")
    until(lambda: not dock.previews.busy)
    assert dock.panel.text.startswith("train: 2 images: ")
    assert notes == [] and len(viewer.layers) == 0

    for name, title in (("preview_targets", "Targets"), ("preview_augmentation", "Augmentation")):
        click(qtbot, dock, name)
        assert not dock.previews.busy
        assert notes.pop()[1].startswith(f"{title} is made of an open image, and none of the folder is open")
    click(qtbot, dock, "open_image")
    until(lambda: len(viewer.layers) == 2)
    click(qtbot, dock, "preview_targets")
    until(lambda: not dock.previews.busy)
    assert notes == []
