"""What a graph gave, as another process is told of it."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from napari_segtrain.data import open_source
from napari_segtrain.runs import Control, Event, NodeOutput
from napari_segtrain.workflow.graph import graph_to_dict, serving
from napari_segtrain.workflow.graph.templates import template
from napari_segtrain.workflow.graph.work.inference import Place, Predicted


def test_arrays_are_told_with_their_place_in_an_image_and_what_they_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    places = {
        "a": Place("image_layer", "a", (0, 0), (0.5, 0.25), "micrometer"),
        "a:1": Place("image_layer", "a", (4, 2), (0.5, 0.25), "micrometer"),
    }
    arrays = {"cells": np.ones((4, 6), np.uint8), "depth": np.ones((4, 6), np.uint8)}
    found = Predicted(dict.fromkeys(places, arrays), places, frozenset(["cells"]))

    def execute(*_: Any, **__: Any) -> Any:
        return SimpleNamespace(values={"predictor": {"all_predictions": found}})

    monkeypatch.setattr(serving, "execute", execute)
    events: list[Event] = []
    graph, show = graph_to_dict(template("predict")), [("predictor", "all_predictions")]
    serving.GraphServer().run(graph, tmp_path / "out", show=show, emit=events.append, control=Control())
    (event,) = events
    assert isinstance(event, NodeOutput)
    assert list(event.arrays) == ["a cells", "a depth", "a:1 cells", "a:1 depth"]
    place = {
        "node": "image_layer",
        "record": "a",
        "start": [4, 2],
        "spacing": [0.5, 0.25],
        "unit": "micrometer",
    }
    assert event.told["a:1 depth"] == {**place, "shown_as": "image"}
    assert event.told["a cells"] == {**place, "start": [0, 0], "shown_as": "labels"}
    assert open_source(event.arrays["a:1 depth"]).shape == (4, 6)
