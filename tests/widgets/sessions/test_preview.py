from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from napari.layers._layer_actions import _duplicate_layer

from napari_segtrain.config import (
    DatasetConfig,
    DistanceTransformTask,
    ExperimentConfig,
    InplaneDirectionTask,
    StructureTensorTask,
    SurfaceNormalsTask,
    TargetConfig,
)
from napari_segtrain.runs import PreviewReady
from napari_segtrain.runs.scratch import Scratch
from napari_segtrain.widgets.layers.covered import covered_of
from napari_segtrain.widgets.layers.data_spec import training_data
from napari_segtrain.widgets.sessions import preview as preview_module
from napari_segtrain.widgets.sessions.beat import Beat
from napari_segtrain.widgets.sessions.preview import PreviewLayers

pytestmark = pytest.mark.gui

CONFIG = ExperimentConfig(
    dataset_config=DatasetConfig(
        targets={
            "cells": TargetConfig(kind="binary"),
            "types": TargetConfig(kind="classes"),
            "height": TargetConfig(kind="regression"),
            "any": TargetConfig(),
        }
    ),
    auxiliary_tasks={
        "distance": DistanceTransformTask(source_target="cells"),
        "normals": SurfaceNormalsTask(source_target="cells"),
        "tensor": StructureTensorTask(source_target="cells"),
        "tangent": InplaneDirectionTask(source_target="cells"),
    },
)


@pytest.fixture
def viewer() -> Any:
    """A viewer without a window."""
    from napari.components import ViewerModel

    return ViewerModel()


@pytest.fixture
def make_previews(viewer: Any) -> Callable[..., PreviewLayers]:
    image = viewer.add_image(np.zeros((20, 30), np.uint8), name="a", scale=(2, 3), rotate=15)
    paint = viewer.add_labels(np.zeros((20, 30), np.uint8), name="l")
    layers = list(viewer.layers)
    data = training_data([image], {"cells": (paint, None)}, CONFIG.dataset_config, all_layers=layers)
    return lambda **options: PreviewLayers(viewer, CONFIG, data.images, Beat(), **options)


@pytest.fixture
def previews(make_previews: Callable[..., PreviewLayers]) -> PreviewLayers:
    return make_previews()


def event(
    scratch: Scratch, head: str, values: Any, start: Any = (0, 0), channel: int | None = None
) -> PreviewReady:
    size = values.shape if channel is None else values.shape[1:]
    spec = scratch.add(head, values, channel)
    stop = tuple(a + b for a, b in zip(start, size, strict=True))
    return PreviewReady(record="a", head=head, array=spec, start=start, stop=stop, epoch=1)


@pytest.mark.parametrize(
    ("head", "values", "channel", "kind", "shown"),
    [
        ("cells", np.full((20, 30), 0.7, np.float32), None, "Labels", 1),
        ("cells", np.ones((20, 30), np.uint8), None, "Labels", 1),
        ("types", np.stack([np.zeros((20, 30)), np.ones((20, 30))]).astype(np.float32), 0, "Labels", 1),
        ("any", np.full((20, 30), 0.2, np.float32), None, "Labels", 0),
        ("any", np.full((20, 30), -3.5, np.float32), None, "Image", -3.5),
        ("height", np.full((20, 30), 0.5, np.float32), None, "Image", 0.5),
        ("distance", np.full((20, 30), -4.0, np.float32), None, "Image", -4.0),
        ("cells_distance", np.full((20, 30), 0.25, np.float32), None, "Image", 0.25),
    ],
)
def test_each_output_gets_the_layer_that_fits_it(
    viewer: Any, previews: Any, tmp_path: Path, head: str, values: Any, channel: Any, kind: str, shown: float
) -> None:
    previews.take(event(Scratch(tmp_path / "s"), head, values, channel=channel))
    previews.show_newest()
    layer = viewer.layers[f"{head} · live"]
    assert type(layer).__name__ == kind
    assert layer.data.shape == (20, 30)
    assert (layer.data == np.float32(shown)).all()
    np.testing.assert_allclose(layer.data_to_world((3, 4)), viewer.layers["a"].data_to_world((3, 4)))


@pytest.mark.parametrize(
    ("head", "channels", "colour"),
    [
        ("normals", (0.6, -0.8), (204, 25, 127)),
        ("tangent", (0.6, -0.8), (153, 204, 0)),
        ("tensor", (0.2, -0.1, 0.6), (63, 191, 0)),
    ],
)
def test_directions_become_colours(
    viewer: Any, previews: Any, tmp_path: Path, head: str, channels: Any, colour: Any
) -> None:
    values = np.broadcast_to(np.reshape(channels, (-1, 1, 1)), (len(channels), 20, 30)).astype(np.float32)
    previews.take(event(Scratch(tmp_path / "s"), head, values, channel=0))
    previews.show_newest()
    layer = viewer.layers[f"{head} · live"]
    assert layer.rgb
    np.testing.assert_allclose(layer.data[0, 0], colour, atol=1)
    assert not layer.visible


def test_zero_stays_in_the_middle_of_the_colours_of_a_distance(
    viewer: Any, previews: Any, tmp_path: Path
) -> None:
    scratch = Scratch(tmp_path / "s")
    previews.take(event(scratch, "distance", np.linspace(-2, 5, 20, dtype=np.float32).reshape(4, 5)))
    previews.show_newest()
    layer = viewer.layers["distance · live"]
    assert layer.contrast_limits == [-5, 5]
    assert layer.colormap.name == "PiYG"
    previews.take(event(scratch, "distance", np.full((4, 5), -9, np.float32), (8, 8)))
    previews.show_newest()
    assert layer.contrast_limits == [-9, 9]


def test_only_the_new_block_is_written_and_painting_goes_on(
    viewer: Any, previews: Any, tmp_path: Path
) -> None:
    viewer.layers.selection = {viewer.layers["l"]}
    scratch = Scratch(tmp_path / "s")
    previews.take(event(scratch, "cells", np.ones((4, 5), np.uint8), (2, 3)))
    previews.show_newest()
    layer = viewer.layers["cells · live"]
    assert layer.data.sum() == 20
    assert layer.data[2:6, 3:8].all()
    assert viewer.layers.selection == {viewer.layers["l"]}


def test_a_preview_knows_what_the_run_has_taken_its_target_for(
    viewer: Any, previews: Any, tmp_path: Path
) -> None:
    previews.kinds = {"any": "classes", "elsewhere": "instances"}
    scratch = Scratch(tmp_path / "s")
    for head, target in (
        ("any", TargetConfig(kind="classes")),
        ("elsewhere", TargetConfig(kind="instances")),
        ("cells", TargetConfig(kind="binary")),
        ("distance", None),
    ):
        previews.take(event(scratch, head, np.ones((4, 5), np.uint8)))
        previews.show_newest()
        assert viewer.layers[f"{head} · live"].metadata["napari_segtrain"]["target"] == target


def test_nobody_paints_on_a_preview_which_its_next_block_overwrites(
    viewer: Any, previews: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    viewer.layers.selection.clear()
    scratch = Scratch(tmp_path / "s")
    for largest, head in ((2**31, "cells"), (100, "types")):
        monkeypatch.setattr(preview_module, "_LARGEST", largest)
        for start in ((2, 3), (8, 9)):
            previews.take(event(scratch, head, np.ones((4, 5), np.uint8), start))
            previews.show_newest()
            layer = viewer.layers[f"{head} · live"]
            assert not layer.editable
            layer.mode = "paint"
            assert layer.mode == "pan_zoom"
            assert viewer.layers.selection.active is None, "nothing was selected, and nothing is"
    previews.take(event(scratch, "cells~part", np.ones((20, 30), np.float16)))
    previews.show_newest()
    assert viewer.layers.selection.active is None
    assert viewer.layers["cells · objects · live"].editable, "what is painted on objects is kept"


def test_layers_change_at_most_four_times_a_second(
    viewer: Any, previews: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Beats that come only when the test says so, however busy the machine is.
    for name in ("FAST", "SLOW"):
        monkeypatch.setattr(f"napari_segtrain.widgets.sessions.beat.{name}", 3_600_000)
    previews._beat.interval = 3_600_000
    previews._beat._began = time.monotonic()
    written: list[int] = []
    write = previews._write
    monkeypatch.setattr(previews, "_write", lambda *a: (written.append(1), write(*a)))
    scratch = Scratch(tmp_path / "s")
    for value in range(1, 50):
        previews.take(event(scratch, "types", np.full((20, 30), value, np.uint8)))
        if value == 10:
            previews._beat.strike()
    assert len(written) == 1
    previews._beat.strike()
    assert len(written) == 2
    assert (viewer.layers["types · live"].data == 49).all(), "the newest, once"


def test_an_image_too_large_for_a_preview_of_its_size_shows_the_newest_block(
    viewer: Any, previews: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(preview_module, "_LARGEST", 100)
    scratch = Scratch(tmp_path / "s")
    for start in ((2, 3), (8, 9)):
        previews.take(event(scratch, "cells", np.ones((4, 5), np.uint8), start))
        previews.show_newest()
        layer = viewer.layers["cells · live"]
        assert layer.data.shape == (4, 5)
        np.testing.assert_allclose(layer.data_to_world((0, 0)), viewer.layers["a"].data_to_world(start))
        assert covered_of(layer) is None, "all of it is predicted"


def predicted(layer: Any) -> Any:
    covered = covered_of(layer)
    return None if covered is None else covered.read((slice(0, 20), slice(0, 30)))


def test_a_preview_knows_which_voxels_were_predicted(
    viewer: Any, make_previews: Callable[..., PreviewLayers], tmp_path: Path
) -> None:
    scratch, expected = Scratch(tmp_path / "s"), np.zeros((20, 30), bool)
    for start, goes_on in (((2, 3), False), ((8, 9), False), ((10, 20), True)):
        if goes_on or start == (2, 3):
            previews = make_previews(goes_on=goes_on)
        # Background, which nobody can tell from a layer that is still empty.
        previews.take(event(scratch, "cells", np.zeros((4, 5), np.uint8), start))
        previews.show_newest()
        viewer.dims.ndisplay = 3
        expected[tuple(slice(a, a + n) for a, n in zip(start, (4, 5), strict=True))] = True
        np.testing.assert_array_equal(predicted(viewer.layers["cells · live"]), expected)
    viewer.layers.selection = {viewer.layers["cells · live"]}
    _duplicate_layer(viewer.layers)
    copy = viewer.layers["cells · live copy"]
    previews.take(event(scratch, "cells", np.zeros((20, 30), np.uint8)))
    previews.finish()
    assert predicted(viewer.layers["cells · live"]).all()
    np.testing.assert_array_equal(predicted(copy), expected)


def test_a_preview_whose_file_is_gone_is_passed_over(viewer: Any, previews: Any, tmp_path: Path) -> None:
    scratch = Scratch(tmp_path / "s")
    late = event(scratch, "cells", np.ones((20, 30), np.uint8))
    scratch.remove()
    previews.take(late)
    previews.show_newest()
    assert "cells · live" not in viewer.layers


def test_the_last_preview_of_a_run_that_deletes_its_files_is_shown(
    viewer: Any, previews: Any, tmp_path: Path
) -> None:
    scratch = Scratch(tmp_path / "s")
    previews.take(event(scratch, "types", np.full((20, 30), 7, np.uint8)))
    scratch.remove()
    previews.show_newest()
    assert (viewer.layers["types · live"].data == 7).all()


def test_a_resumed_run_goes_on_with_its_earlier_previews(
    viewer: Any, make_previews: Callable[..., PreviewLayers], tmp_path: Path
) -> None:
    scratch = Scratch(tmp_path / "s")

    def show(value: int, **options: Any) -> str:
        shown = make_previews(**options)
        shown.take(event(scratch, "types", np.full((20, 30), value, np.uint8)))
        shown.show_newest()
        return next(str(layer.name) for layer in viewer.layers if (layer.data == value).all())

    assert show(1) == "types · live"
    assert show(2, goes_on=True) == "types · live"
    assert show(3) == "types · live [1]", "another run has a layer of its own"
    viewer.layers["types · live"].scale = (1, 1)
    assert show(4, goes_on=True) == "types · live [2]", "it lies elsewhere now"


def test_objects_are_separated_while_they_are_seen(
    viewer: Any, make_previews: Callable[..., PreviewLayers], tmp_path: Path, until: Callable[..., None]
) -> None:
    y, x = np.mgrid[:20, :30]
    inside = np.maximum(*(1 - np.hypot(y - 10, x - middle) / 7 for middle in (9, 20)))
    parts = {
        "cells~part": (inside > 0).astype(np.float16),
        "cells_boundary~part": np.zeros((20, 30), np.float16),
        "cells_distance~part": np.clip(inside, 0, 1).astype(np.float16),
    }
    previews = make_previews()

    def send(folder: str, factor: float = 1.0) -> None:
        scratch = Scratch(tmp_path / folder)
        for head, values in parts.items():
            previews.take(event(scratch, head, (values * factor).astype(np.float16)))
        previews.show_newest()

    send("first")
    layer = viewer.layers["cells · objects · live"]
    assert [one.name for one in viewer.layers] == ["a", "l", layer.name], "nothing else is shown of the parts"
    assert not layer.visible and not layer.data.any(), "what nobody looks at costs nothing"
    assert not predicted(layer).any(), "nothing is separated"
    layer.visible = True
    until(lambda: len(layer.features) == 2)
    assert predicted(layer).all()
    assert layer.data.max() == 2 and layer.data[10, 9] != layer.data[10, 20]
    np.testing.assert_allclose(layer.data_to_world((3, 4)), viewer.layers["a"].data_to_world((3, 4)))
    assert layer.features["mean intensity"].tolist() == [0, 0]
    send("second", 0.4)
    until(lambda: not layer.data.any())
    send("third")
    previews.finish()
    until(lambda: layer.data.max() == 2 and len(layer.features) == 2)
    again = make_previews(goes_on=True)
    again.take(event(Scratch(tmp_path / "fourth"), "cells~part", np.zeros((20, 30), np.float16)))
    again.show_newest()
    until(lambda: not layer.data.any())
    assert len(viewer.layers) == 3, "a resumed run goes on with the layer"
    viewer.layers.remove(layer)
    again.take(event(Scratch(tmp_path / "fifth"), "other~part", np.zeros((20, 30), np.float16)))
    again.show_newest()
    assert len(viewer.layers) == 2
