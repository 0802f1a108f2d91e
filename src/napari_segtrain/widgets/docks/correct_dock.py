"""The Correct dock: take over what is predicted well, and go to what is predicted worst."""

from __future__ import annotations

from functools import partial
from typing import Any

from qtpy.QtWidgets import QVBoxLayout, QWidget

from ..forms.folding import sections
from ..layers.layer_choice import LayerWatch
from ..panels.accept_panel import AcceptPanel
from ..panels.heading import Heading
from ..panels.network_rows import NetworkRows
from ..panels.worst_panel import WorstPanel
from .dock import Dock


class CorrectDock(Dock):
    """Accept a prediction into labels, and go through the patches that a run predicts worst.

    Parameters
    ----------
    napari_viewer
        The viewer; napari gives it.
    """

    def __init__(self, napari_viewer: Any) -> None:
        watch = LayerWatch(napari_viewer)
        super().__init__(napari_viewer, partial(_let_go, watch))
        self.setObjectName("correct_dock")
        self.accepting = AcceptPanel(watch)
        self.worst = WorstPanel(napari_viewer)
        self.network = NetworkRows()
        self.project, self.run = self.network.project, self.network.run
        self._lay_out()
        self.run.changed.connect(self._on_run)
        self.run.refresh_button.clicked.connect(self._on_run)
        self.network.begin()

    def _lay_out(self) -> None:
        patches = QWidget()
        inside = QVBoxLayout(patches)
        inside.setContentsMargins(0, 0, 0, 0)
        inside.setSpacing(4)
        inside.addWidget(self.network)
        inside.addWidget(self.worst)
        body = sections({"Accept a prediction": self.accepting, "Worst patches": patches})
        self._stack(Heading("Correct and go on", "Correct"), body)

    def _on_run(self) -> None:
        self.worst.show_run(self.run.value())

    def showEvent(self, event: Any) -> None:
        """Look for runs that were trained, and for scores that were found, meanwhile."""
        super().showEvent(event)
        self.run.refresh()
        self._on_run()

    def shut_down(self) -> None:
        """Let go of the viewer."""
        self.accepting.close_down()
        self.worst.close_down()
        super().shut_down()


def _let_go(watch: LayerWatch) -> None:
    watch.stop()
