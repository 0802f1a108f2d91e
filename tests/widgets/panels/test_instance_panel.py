from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
from qtpy.QtWidgets import QPushButton

from napari_segtrain.config import ExperimentConfig, InferenceConfig
from napari_segtrain.inference import again
from napari_segtrain.inference.instances import separate_instances
from napari_segtrain.inference.kept_parts import KeptParts
from napari_segtrain.runs import RunFolder
from napari_segtrain.widgets.docks.predict_dock import PredictDock
from napari_segtrain.widgets.layers import results
from napari_segtrain.widgets.layers.covered import covered_of
from napari_segtrain.widgets.layers.layer_choice import LayerWatch
from napari_segtrain.widgets.panels.instance_panel import InstancePanel
from napari_segtrain.widgets.sessions import live_instances

pytestmark = pytest.mark.gui

Until = Callable[[Callable[[], Any]], None]
SPACE = {"scale": (0.5, 0.25), "translate": (3, 4), "rotate": 20, "units": ("um", "um")}


def hills(shape: tuple[int, ...] = (48, 64)) -> np.ndarray:
    """Two hills that touch, brightness 0 … 255."""
    y, x = np.mgrid[: shape[-2], : shape[-1]]
    high = np.maximum(*(1 - np.hypot(y - 24, x - centre) / 14 for centre in (20, 44)))
    return np.broadcast_to(np.clip(high * 255, 0, 255).astype(np.uint8), shape).copy()


@pytest.fixture
def dock(make_dock: Callable[[type], Any], tmp_path: Path, viewer: Any) -> Any:
    run = RunFolder.create(tmp_path / "project", "first")
    run.write_config(ExperimentConfig())
    (run.checkpoints / "best.ckpt").write_bytes(b"")
    dock = make_dock(PredictDock)
    dock.set_value(InferenceConfig(instances=True, threshold=0.1, targets=("mask",)))
    return dock


def predict(dock: Any, until: Until) -> None:
    dock.run.refresh()
    until(lambda: dock.run.value() is not None and dock.run.known)
    dock.findChild(QPushButton, "predict").click()
    assert dock.session.busy, dock.panel.status.text()
    until(lambda: not dock.session.busy and not dock.instances.live.busy)


def expected(image: np.ndarray, **settings: Any) -> np.ndarray:
    share = (image / 255).astype(np.float16)
    return separate_instances(share, distance=share, inference=InferenceConfig(threshold=0.1, **settings))


def test_sliders_separate_again_without_predicting(viewer: Any, dock: Any, until: Until) -> None:
    image = viewer.add_image(hills(), name="cells", **SPACE)
    predict(dock, until)
    panel, layer = dock.instances, viewer.layers["cells · cells"]
    assert panel.layer.layer() is layer and panel.value()["threshold"] == 0.1
    assert panel.status.text() == "2 objects"
    features = layer.features
    assert features["index"].tolist() == [1, 2]
    sizes = np.bincount(layer.data.ravel())[1:]
    np.testing.assert_allclose(features["area (µm²)"], sizes * 0.5 * 0.25)
    means = [image.data[layer.data == n].mean() for n in (1, 2)]
    np.testing.assert_allclose(features["mean intensity"], means)
    place = image.data_to_world(np.argwhere(layer.data == 1).mean(axis=0))
    np.testing.assert_allclose([features["centre y"][0], features["centre x"][0]], place)

    array = layer.data
    for name, step, settings in (
        ("seed_threshold", 10, {"seed_threshold": 0.1}),
        ("threshold", 60, {"threshold": 0.6}),
        ("min_size", 100, {"min_size": 10_000}),
    ):
        panel.sliders[name].slider.setValue(step)
        assert panel.sliders[name].value() == settings[name]
    panel.sliders["min_size"].number.set_value(0)
    assert panel.sliders["min_size"].slider.value() == 0
    until(lambda: not panel.live.busy)
    assert layer.data is array, "the newest values win, in the same layer"
    both = expected(hills(), seed_threshold=0.1, min_size=0)
    assert both.max() == 1
    np.testing.assert_array_equal(layer.data, expected(hills(), min_size=0) * (hills() / 255 > 0.6))
    panel.sliders["threshold"].set_value(0.1)
    until(lambda: not panel.live.busy)
    np.testing.assert_array_equal(layer.data, both)
    assert panel.status.text() == "1 object" and len(layer.features) == 1

    dock.findChild(QPushButton, "use_live").click()
    assert (dock.value().threshold, dock.value().seed_threshold, dock.value().min_size) == (0.1, 0.1, 0)
    dock.findChild(QPushButton, "reset_live").click()
    until(lambda: not panel.live.busy)
    np.testing.assert_array_equal(layer.data, expected(hills()))
    assert panel.sliders["seed_threshold"].value() == 0.5

    panel.sliders["seed_distance"].slider.setValue(100)
    until(lambda: not panel.live.busy)
    np.testing.assert_array_equal(layer.data, expected(hills(), seed_distance=100.0))
    assert panel.status.text() == "1 object" and layer.data.max() == 1
    dock.findChild(QPushButton, "use_live").click()
    assert dock.value().seed_distance == 100
    dock.findChild(QPushButton, "reset_live").click()
    until(lambda: not panel.live.busy)
    assert panel.sliders["seed_distance"].value() == 0 and layer.data.max() == 2

    layer.data_setitem((np.array([0]), np.array([0])), 9)
    panel.sliders["seed_threshold"].set_value(0.1)
    until(lambda: not panel.live.busy)
    assert layer.data[0, 0] == 9, "what was painted stays"
    copy = viewer.layers["cells · cells again"]
    assert panel.layer.layer() is copy and copy.data.max() == 1
    np.testing.assert_allclose(copy.data_to_world((5, 7)), image.data_to_world((5, 7)))
    viewer.layers.remove(copy)
    panel.live.separate(copy, InferenceConfig())
    until(lambda: not panel.live.busy)
    assert "was deleted" in panel.status.text()


def test_a_stored_prediction_stays_as_it_is(viewer: Any, dock: Any, until: Until, tmp_path: Path) -> None:
    viewer.add_image(hills((3, 48, 64)), name="cells")
    dock.destination.set_value("store")
    dock.store.set_value(tmp_path / "out.zarr")
    predict(dock, until)
    panel, layer = dock.instances, viewer.layers["cells · cells"]
    assert isinstance(layer.data, zarr.Array)
    assert isinstance(layer.metadata["napari_segtrain"]["parts"].foreground, zarr.Array)
    assert len(layer.features) == 2 and "volume (px³)" in layer.features
    before = layer.data[:]
    covered: dict[str, Any] = {}
    panel.live.said.connect(lambda words: covered.update({words: covered_of(layer)}))
    panel.sliders["seed_threshold"].set_value(0.1)
    until(lambda: not panel.live.busy)
    assert not covered["Separating objects …"].read((slice(0, 3), slice(0, 48), slice(0, 64))).any()
    assert covered["1 object"] is None, "all of it can be accepted again"
    assert isinstance(layer.data, np.ndarray) and layer.data.max() == 1
    np.testing.assert_array_equal(zarr.open_array(tmp_path / "out.zarr" / "cells", mode="r")[:], before)


def test_what_is_visible_comes_first_and_new_values_end_older_work(
    viewer: Any, until: Until, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(again, "_GLANCE", 100)
    monkeypatch.setattr(live_instances, "_IN_MEMORY", 1000)
    share = (hills((4, 48, 64)) / 255).astype(np.float16)
    labels = viewer.add_labels(
        np.broadcast_to(np.int32(0), share.shape),
    )
    settings = {"inference_config": {"threshold": 0.1}}
    ours = {"result": True, "parts": KeptParts(share, None, share, 2), "settings": settings}
    labels.metadata["napari_segtrain"] = ours
    labels.features = {"index": [1]}
    watch = LayerWatch(viewer)
    panel = InstancePanel(watch)
    started: list[Any] = []
    real = live_instances.separate_again

    def spy(parts: Any, inference: Any, write: Any, go_on: Any, first: Any) -> bool:
        started.append((first, inference.seed_threshold))
        if len(started) == 1:
            until_stopped(go_on)
        return real(parts, inference, write, go_on, first)

    def until_stopped(go_on: Any) -> None:
        while go_on(0.0):
            pass

    monkeypatch.setattr(live_instances, "separate_again", spy)
    try:
        panel.sliders["seed_threshold"].set_value(0.3)
        until(lambda: started)
        viewer.dims.set_current_step(0, 2)
        panel.sliders["seed_threshold"].set_value(0.2)
        panel.sliders["seed_threshold"].set_value(0.1)
        until(lambda: not panel.live.busy)
        assert [value for _, value in started] == [0.3, 0.1]
        assert started[-1][0][0] == slice(2, 3)
        assert isinstance(labels.data, np.memmap), "larger than memory: a temporary file"
        assert [labels.data[n].max() for n in range(4)] == [1, 2, 3, 4]
    finally:
        panel.close_down()
        watch.stop()


def test_the_sliders_move_on_to_the_objects_of_the_newest_prediction(
    viewer: Any, dock: Any, until: Until
) -> None:
    viewer.add_image(hills(), name="cells")
    predict(dock, until)
    first = dock.instances.layer.layer()
    predict(dock, until)
    newest = dock.instances.layer.layer()
    assert newest in viewer.layers and newest != first


def test_what_concerns_seeds_is_off_where_there_are_none(viewer: Any) -> None:
    share = (hills() / 255).astype(np.float16)
    watch = LayerWatch(viewer)
    panel = InstancePanel(watch)
    try:
        for distance in (None, share):
            ours = {"result": True, "parts": KeptParts(share, None, distance, 2), "settings": {}}
            labels = viewer.add_labels(
                np.zeros(share.shape, np.int32),
                features={"index": [1]},
                metadata={"napari_segtrain": ours},
            )
            panel.choose(labels)
            enabled = {name for name, slider in panel.sliders.items() if slider.isEnabled()}
            assert set(panel.sliders) - enabled == (
                {"seed_threshold", "seed_distance"} if distance is None else set()
            )
    finally:
        panel.close_down()
        watch.stop()


def test_parts_that_are_too_large_are_left_and_said(
    viewer: Any, dock: Any, until: Until, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "Predict with Instances ticked" in dock.instances.status.text()
    assert not dock.instances.sliders["threshold"].isEnabled()
    monkeypatch.setattr(results, "_MOST_PARTS", 10)
    viewer.add_image(hills(), name="cells")
    predict(dock, until)
    assert "predict into a Zarr store" in dock.instances.status.text()
    assert dock.instances.layer.layer() is None
