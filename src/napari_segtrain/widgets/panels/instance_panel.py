"""Sliders that separate the objects of a prediction again, without predicting."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from qtpy.QtCore import Signal
from qtpy.QtWidgets import QHBoxLayout, QLabel, QPushButton, QSizePolicy, QVBoxLayout, QWidget

from ...config import InferenceConfig
from ..forms.form_rows import FormRows
from ..forms.schema import keys_of
from ..forms.slider_edit import SliderEdit
from ..layers.instance_settings import KEYS, SEED_KEYS, first_settings_of, has_parts, settings_of
from ..layers.layer_choice import LayerCombo, LayerWatch
from ..layers.layer_kind import layer_kind
from ..layers.results import OURS
from ..sessions.live_instances import LiveInstances

_HINT = (
    "Predict with Instances ticked: then thresholds, seed distance and smallest object can be changed here "
    "without predicting again."
)
_WITHOUT = (
    "What the objects were made of is too large for memory: predict into a Zarr store, and they can be "
    "separated again here."
)


class InstancePanel(QWidget):
    """Sliders, and the layer they act on: one whose prediction kept what its objects are made of.

    Parameters
    ----------
    watch
        An eye on the layers.
    """

    used = Signal(object)
    """The settings that shall be those of the next prediction, by key."""

    def __init__(self, watch: LayerWatch) -> None:
        super().__init__()
        self.live = LiveInstances(watch.viewer, self)
        self.layer = LayerCombo("instance_layer", watch, has_parts)
        self.layer.setToolTip("The objects that the sliders change; a stored prediction stays as it is.")
        keys = {key.name: key for key in keys_of(InferenceConfig)}
        self.sliders = {name: SliderEdit(keys[name], f"live_{name}") for name in KEYS}
        self.use = _button(
            "use_live", "Use for predictions", "Write these values into the settings of the next prediction"
        )
        self.reset = _button("reset_live", "Reset", "Go back to the values that the prediction was made with")
        self.status = QLabel()
        self.status.setObjectName("live_status")
        self.status.setWordWrap(True)
        self.status.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Minimum)
        self._lay_out({name: keys[name].title for name in KEYS})
        for slider in self.sliders.values():
            slider.changed.connect(self._on_slider)
        self.layer.changed.connect(self._on_layer)
        self.live.said.connect(self.status.setText)
        self.live.moved.connect(self.choose)
        self.use.clicked.connect(lambda: self.used.emit(self.value()))
        self.reset.clicked.connect(self._on_reset)
        self._on_layer()

    def value(self) -> dict[str, Any]:
        """Return what the sliders say, by key of `inference_config`."""
        return {name: slider.value() for name, slider in self.sliders.items()}

    def set_value(self, inference: InferenceConfig) -> None:
        """Show settings without separating anything."""
        for name, slider in self.sliders.items():
            slider.blockSignals(True)
            slider.set_value(getattr(inference, name))
            slider.blockSignals(False)

    def choose(self, layer: Any) -> None:
        """Let the sliders change the objects of a layer."""
        self.layer.set_value(layer.name)

    def offer(self, layers: Sequence[Any]) -> bool:
        """Choose the objects among new results, if there are any; return whether there are."""
        found = [layer for layer in layers if has_parts(layer)]
        if found:
            self.choose(found[0])
        elif any(layer_kind(layer) == "Labels" and layer.data.dtype == np.int32 for layer in layers):
            self.status.setText(_WITHOUT)
        return bool(found)

    def close_down(self) -> None:
        """Give up what is under way."""
        self.live.close()

    def _lay_out(self, titles: dict[str, str]) -> None:
        rows = FormRows()
        rows.add_row("Separated in", self.layer)
        for name, slider in self.sliders.items():
            rows.add_row(titles[name], slider)
        buttons = QHBoxLayout()
        buttons.setSpacing(6)
        buttons.addWidget(self.use, 1)
        buttons.addWidget(self.reset)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(4)
        layout.addWidget(rows)
        layout.addLayout(buttons)
        layout.addWidget(self.status)

    def _on_layer(self) -> None:
        layer = self.layer.layer()
        for control in (*self.sliders.values(), self.use, self.reset):
            control.setEnabled(layer is not None)
        if layer is None:
            self.status.setText(_HINT)
            return
        parts = layer.metadata[OURS]["parts"]
        seeded = parts.boundary is not None or parts.distance is not None
        for name in SEED_KEYS:
            self.sliders[name].setEnabled(seeded)
        self.set_value(settings_of(layer))
        self.status.setText("")
        self.live.measure(layer)

    def _on_slider(self) -> None:
        layer = self.layer.layer()
        if layer is not None:
            self.live.separate(layer, settings_of(layer).replace(**self.value()))

    def _on_reset(self) -> None:
        layer = self.layer.layer()
        if layer is not None:
            self.set_value(first_settings_of(layer))
            self._on_slider()


def _button(name: str, text: str, tip: str) -> QPushButton:
    button = QPushButton(text)
    button.setObjectName(name)
    button.setToolTip(tip)
    return button
