"""One ranking of regions from its button to points."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from qtpy.QtCore import QObject

from ...engine.protocol import LabelNext
from ...runs import Event, Finished, RegionsRanked, RunState
from ...runs.scratch import Scratch
from ..layers.data_spec import TrainedImage, TrainingData
from ..layers.label_points import show_regions
from .engine_job import EngineJob
from .engine_session import EngineSession


class LabelSession(EngineJob):
    """Has the engine rank the regions of an image and shows them, one ranking at a time."""

    _starting = "Loading the network …"
    _doing = "Looking for doubt …"

    def __init__(self, viewer: Any, engine: EngineSession, parent: QObject | None = None) -> None:
        super().__init__(viewer, engine, parent)
        self._labels: Any = None
        self._result: str | None = None

    def start(
        self,
        model: Path,
        data: TrainingData,
        labels: Any,
        targets: Sequence[str],
        number: int,
        device: str,
        project: Path,
    ) -> None:
        """Rank the regions of an image; returns at once.

        Parameters
        ----------
        model
            Run folder, also of a run in training, or checkpoint.
        data
            The image and its labels.
        labels
            The layer to paint in, None where there is none.
        targets
            Targets that count.
        number
            How many regions at most.
        device
            Where to compute.
        project
            Folder that may hold shared files meanwhile.

        Raises
        ------
        RunError
            When the project cannot be written to.
        """
        if self.busy:
            return
        scratch = Scratch.create(project)
        self._labels, self._result = labels, None
        command = LabelNext(model=str(model), data={}, targets=tuple(targets), number=number, device=device)
        worker = self._prepare(command, data, scratch)
        self.said.emit("Sharing the layers with the process that ranks")
        worker.start()

    def _when_closed(self) -> str:
        return "regions to label next are being searched for. When the window closes none are found."

    def _on_news(self, event: Event) -> None:
        if isinstance(event, RegionsRanked):
            [image] = self._data.images.values()
            self._result = self._show(event, image)
        elif isinstance(event, Finished):
            cancelled = event.status is RunState.INTERRUPTED and self._result is None
            message = "Cancelled" if cancelled else event.message or self._result or ""
            self._end(event.status is not RunState.FAILED, message)

    def _show(self, event: RegionsRanked, image: TrainedImage) -> str:
        layer = show_regions(self._viewer, image, self._labels, event.regions)
        if layer is None:
            return _sentence(event.words)
        since = "" if event.epoch is None else f", as the network of epoch {event.epoch} sees it"
        found = f"{len(event.regions)} regions are in the layer {layer.name!r}, best first{since}"
        return ". ".join(filter(None, (found, _sentence(event.words))))

    def _release(self) -> None:
        self._labels = None
        super()._release()


def _sentence(words: str) -> str:
    return words[:1].upper() + words[1:]
