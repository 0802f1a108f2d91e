"""The Label next dock: where labels would help a network most, and the way from one place to the next."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from qtpy.QtWidgets import QHBoxLayout, QPushButton, QWidget

from ...config import ConfigError, ExperimentConfig, SegtrainError
from ..forms.choice_editors import Combo
from ..forms.folding import sections
from ..forms.form_rows import FormRows
from ..forms.number_editors import IntEdit
from ..forms.schema import Key, Shape
from ..layers.data_spec import TrainingData, image_data, training_data
from ..layers.label_points import go, mark_done, region_layer
from ..layers.layer_choice import LayerCombo, is_image, is_labels
from ..panels.heading import Heading
from ..panels.run_panel import RunPanel
from ..sessions.label_session import LabelSession
from .label_keys import offer_keys
from .network_dock import NetworkDock

_NUMBER = Key("number", Shape.INT, False, "Regions", "", "", "common", lower=1, upper=1000)
_STEPS = {
    "previous_region": ("◀ Previous", "Go back to the region before that is not done"),
    "next_region": ("Next ▶", "Go to the next region that is not done, and choose the layer to paint in"),
    "region_done": ("✓ Done", "Mark this region as done, or as not done; press again to change it back"),
}


class LabelDock(NetworkDock):
    """Choose a network and an image; find the regions that it doubts; go through them.

    Parameters
    ----------
    napari_viewer
        The viewer; napari gives it.
    engine_arguments
        Arguments of the engine process, for tests.
    """

    action = "find_regions"

    def __init__(self, napari_viewer: Any, engine_arguments: Sequence[str] = ()) -> None:
        super().__init__(napari_viewer, engine_arguments)
        self.setObjectName("label_dock")
        self.session = LabelSession(napari_viewer, self.engine, self)
        self._offered: list[str] = []
        self._make_controls()
        self._lay_out()
        self._connect()
        self.network.begin()
        self._on_run()
        self._on_idle()
        offer_keys()
        self._warm()

    # -------------------------------------------------------------------------------- layout

    def _make_controls(self) -> None:
        self.image = LayerCombo("image", self.watch, is_image)
        self.target = Combo("target")
        self.labels = LayerCombo("labels", self.watch, is_labels, empty="none")
        self.number = IntEdit(_NUMBER)
        self.number.set_value(20)
        self.steps: dict[str, QPushButton] = {}
        for name, (text, tip) in _STEPS.items():
            self.steps[name] = QPushButton(text)
            self.steps[name].setObjectName(name)
            self.steps[name].setToolTip(f"{tip}. A key can be bound to it in Preferences, Shortcuts")
        self.panel = RunPanel(
            {
                "find_regions": ("Find regions", "Rank the regions that this network doubts most"),
                "cancel": ("Cancel", "End the search; the regions found before stay"),
            },
            self.beat,
        )

    def _lay_out(self) -> None:
        for control, tip in (
            (self.image, "The image whose regions are ranked."),
            (self.target, "The target that shall be labelled."),
            (self.labels, "What is labelled already, and where to paint; what has labels is not proposed."),
            (self.number, "How many regions at most; no two of them overlap."),
        ):
            control.setToolTip(tip)
        image = FormRows()
        image.add_row("Layer", self.image)
        image.add_row("Target", self.target)
        image.add_row("Labels", self.labels)
        image.add_row("Regions", self.number)
        through = QWidget()
        row = QHBoxLayout(through)
        row.setContentsMargins(0, 0, 0, 0)
        for button in self.steps.values():
            row.addWidget(button, 1)
        body = sections({"Network": self.network, "Image": image, "Go through them": through})
        self._stack(Heading("Where to label next", "Label next"), body, self.panel)

    def _connect(self) -> None:
        self._connect_job()
        self.run.configured.connect(self._on_run)
        self.target.changed.connect(self._choose_labels)
        self.image.changed.connect(self._choose_labels)
        self.watch.changed.connect(self._on_layers)
        self.session.said.connect(self.panel.wait)
        self.steps["previous_region"].clicked.connect(lambda: self._step(lambda: go(self.viewer, -1)))
        self.steps["next_region"].clicked.connect(lambda: self._step(lambda: go(self.viewer, 1)))
        self.steps["region_done"].clicked.connect(lambda: self._step(lambda: mark_done(self.viewer)))

    # ------------------------------------------------------------------------------- actions

    def _begin(self) -> None:
        model, target, number = self.run.checked(), self.target.value(), self.number.value()
        config = self.run.config() or ExperimentConfig()
        data, labels = self._data(config, target), self.labels.layer()
        targets = () if target is None else (target,)
        folder, device = self.network.folder, self.device.value()
        self.session.start(model, data, labels, targets, number or 1, device, folder)

    def _data(self, config: ExperimentConfig, target: str | None) -> TrainingData:
        image, labels = self.image.layer(), self.labels.layer()
        if image is None:
            raise ConfigError("no image layer is chosen; open an image and choose it under Image")
        if labels is None or target is None:
            return image_data(image, config.dataset_config)
        known = {name: one for name, one in config.dataset_config.targets.items() if name == target}
        dataset = config.dataset_config.replace(targets=known)
        return training_data([image], {target: (labels, None)}, dataset, all_layers=list(self.viewer.layers))

    def _step(self, work: Callable[[], str]) -> None:
        try:
            self.panel.say(work())
        except SegtrainError as error:
            self._refuse(str(error))

    # --------------------------------------------------------------------------- what happens

    def _on_run(self) -> None:
        """Offer the run's targets."""
        config = self.run.config()
        names = [] if config is None else list(config.dataset_config.targets)
        self.target.set_items([(name, name) for name in names])
        self._choose_labels()

    def _choose_labels(self) -> None:
        """Choose the layer that a target's labels are called after, where there is one."""
        image, target, config = self.image.layer(), self.target.value(), self.run.config()
        if target is None or config is None:
            return
        own = config.dataset_config.targets[target].labels
        names = [own, *([f"{image.name}_{target}"] if image is not None else []), target]
        offered = [layer.name for layer in self.watch.of_kind(is_labels)]
        found = next((name for name in names if name in offered), None)
        if found is not None:
            self.labels.set_value(found)

    def _on_layers(self) -> None:
        there = region_layer(self.viewer) is not None
        for button in self.steps.values():
            button.setEnabled(there)
        offered = [layer.name for layer in self.watch.of_kind(is_labels)]
        if offered != self._offered:  # what the user chose stays chosen while nothing else is to be had
            self._offered = offered
            if self.labels.layer() is None:
                self._choose_labels()

    def _on_idle(self) -> None:
        super()._on_idle()
        self._on_layers()
