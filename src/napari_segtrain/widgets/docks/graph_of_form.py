"""The experiment of the Train dock as a workflow graph."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ...workflow.graph import Graph, GraphError, graph_of
from ..layers.graph_layers import graph_data
from .train_form import TrainForm


def graph_of_form(viewer: Any, form: TrainForm, project: Path | None) -> Graph:
    """Return the graph that trains what a Train dock shows, on its folder or on its open layers.

    Parameters
    ----------
    viewer
        The napari viewer.
    form
        The form of the Train dock.
    project
        Folder that gets the run; None for the default.

    Raises
    ------
    ConfigError, DataError
        When the form does not show an experiment.
    GraphError
        When a data loader cannot say what the form says of its images.
    """
    config, folder, layers = form.value(), form.folder.value(), form.images.value()
    wanted = form.data(config)
    where = None if project is None else str(project)
    if folder is not None:
        if layers:
            raise GraphError(
                "a data loader reads a folder or open layers, not both: untick the layers beside the folder"
            )
        return graph_of(config, str(folder), where)
    if len(wanted.images) < len(layers):
        raise GraphError(
            "a data loader cannot read several layers as channels of one image: stack them into one layer"
        )
    graph = graph_of(config, None, where).configure("data_loader", {"layers": layers})
    found = graph_data(viewer, graph).loaders["data_loader"]
    if _painted(found) != _painted(wanted):
        raise GraphError(
            f"a data loader tells by their names which layers are painted for an image: it would take "
            f"{_names(found)}, and the Train dock has {_names(wanted)}. Call what is painted "
            "<image>_<target>, its mask <image>_<target>_mask, and nothing else so"
        )
    return graph


def _names(data: Any) -> str:
    return " and ".join(dict.fromkeys(repr(str(mirror.layer.name)) for mirror in data.mirrors))


def _painted(data: Any) -> set[tuple[str, str, tuple[str, ...]]]:
    """Return which layer is painted for which image and targets."""
    return {(str(mirror.layer.unique_id), mirror.record, mirror.targets) for mirror in data.mirrors}
