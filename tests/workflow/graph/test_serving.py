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
from napari_segtrain.workflow.graph.work.inference import Predicted


def test_arrays_are_told_with_the_voxel_size_of_their_image(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes = {"a": ((0.5, 0.25), "micrometer"), "a [1]": ((2.0, 1.0), "nanometer")}
    found = Predicted({name: {"cells": np.ones((4, 6), np.uint8)} for name in sizes}, grids=sizes)

    def execute(*_: Any, **__: Any) -> Any:
        return SimpleNamespace(values={"predictor": {"all_predictions": found}})

    monkeypatch.setattr(serving, "execute", execute)
    events: list[Event] = []
    graph, show = graph_to_dict(template("predict")), [("predictor", "all_predictions")]
    serving.GraphServer().run(graph, tmp_path / "out", show=show, emit=events.append, control=Control())
    (event,) = events
    assert isinstance(event, NodeOutput)
    sources = {name: open_source(spec) for name, spec in event.arrays.items()}
    assert {n: (s.spacing, s.unit) for n, s in sources.items()} == {f"{n} cells": s for n, s in sizes.items()}
