"""The Predict dock: a trained network over a layer, a slice, or what is visible."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ...config import ConfigError, ExperimentConfig, InferenceConfig
from ...runs.stores import StoreState
from ..forms.choice_editors import Combo
from ..forms.folding import sections
from ..forms.form import Form
from ..forms.form_rows import FormRows
from ..forms.outputs_edit import OutputsEdit, output_names, why_no_objects
from ..forms.path_edit import PathEdit
from ..layers.layer_choice import LayerCombo, is_image
from ..layers.prediction_data import SCOPES, Scope, prediction_data
from ..panels.heading import Heading
from ..panels.instance_panel import InstancePanel
from ..panels.run_panel import RunPanel
from ..panels.store_note import StoreNote
from ..sessions.prediction_session import PredictionSession
from .network_dock import NetworkDock


class PredictDock(NetworkDock):
    """Choose a network and a layer, predict, get layers.

    Parameters
    ----------
    napari_viewer
        The viewer; napari gives it.
    engine_arguments
        Arguments of the engine process, for tests.
    """

    action = "predict"

    def __init__(self, napari_viewer: Any, engine_arguments: Sequence[str] = ()) -> None:
        super().__init__(napari_viewer, engine_arguments)
        self.setObjectName("predict_dock")
        self.session = PredictionSession(napari_viewer, self.engine, self)
        self._make_controls()
        self._lay_out()
        self._connect()
        self._shown: InferenceConfig = self.form.value()
        self.network.begin()
        self._on_idle()
        self._warm()

    def value(self) -> InferenceConfig:
        """Return how the dock predicts; raises `ConfigError` when a value is not valid."""
        config: InferenceConfig = self.form.value()
        return config

    def set_value(self, value: InferenceConfig) -> None:
        """Show how to predict."""
        self.form.set_value(value)

    # -------------------------------------------------------------------------------- layout

    def _make_controls(self) -> None:
        self.image = LayerCombo("image", self.watch, is_image)
        self.scope = Combo("scope")
        self.scope.set_items([(text, scope) for scope, text in SCOPES.items()])
        self.outputs = OutputsEdit()
        self.form = Form(
            InferenceConfig,
            editors={"targets": self.outputs},
            first=("targets", "instances", "output", "overlap"),
        )
        self.form.setObjectName("inference_config")
        self.destination = Combo("destination")
        self.destination.set_items([("new layers", "layers"), ("a Zarr store, read lazily", "store")])
        self.store = PathEdit("store", "Zarr store that is written; an interrupted one is continued.", "save")
        self.store_note = StoreNote()
        self.instances = InstancePanel(self.watch)
        self.panel = RunPanel(
            {
                "predict": ("Predict", "Predict with these settings"),
                "cancel": ("Cancel", "End the prediction after the tile it is in"),
            },
            self.beat,
        )

    def _lay_out(self) -> None:
        for control, tip in (
            (self.image, "The image that is predicted."),
            (self.scope, "How much of the layer is predicted."),
            (self.destination, "Where the result goes: new layers hold it in memory, a store on the disk."),
        ):
            control.setToolTip(tip)
        image, self._result = FormRows(), FormRows()
        image.add_row("Layer", self.image)
        image.add_row("Predict", self.scope)
        self._result.add_row("Write to", self.destination)
        self._result.add_row("Store", self.store)
        self._result.add_row("", self.store_note)
        body = sections(
            {
                "Network": self.network,
                "Image": image,
                "Prediction": self.form,
                "Result": self._result,
                "Objects": self.instances,
            }
        )
        self._stack(Heading("Predict with a trained network", "Predict"), body, self.panel)

    def _connect(self) -> None:
        self._connect_job()
        self.run.configured.connect(self._on_run)
        self.outputs.changed.connect(self._on_outputs)
        self.destination.changed.connect(self._on_destination)
        self.store.changed.connect(self._on_destination)
        self.store_note.changed.connect(self._on_store)
        self.session.said.connect(self.panel.say)
        self.session.shown.connect(self._on_shown)
        self.instances.used.connect(self._on_used)

    # ------------------------------------------------------------------------------- actions

    def _begin(self) -> None:
        model, layer, inference = self.run.checked(), self.image.layer(), self.value()
        if layer is None:
            raise ConfigError("no image layer is chosen; open an image and choose it under Image")
        store = self.store.value() if self.destination.value() == "store" else None
        if self.destination.value() == "store" and store is None:
            raise ConfigError("no Zarr store is chosen; type the path of a new one under Result")
        config = self.run.config()
        dataset = None if config is None else config.dataset_config
        data = prediction_data(self.viewer, layer, Scope(self.scope.value()), dataset)
        overwrite = store is not None and self.store_note.overwrite.isChecked()
        folder, device = self.network.folder, self.device.value()
        self.session.start(model, data, inference, device, folder, store, overwrite=overwrite)
        self.panel.wait("Preparing …")

    # --------------------------------------------------------------------------- what happens

    def _on_run(self) -> None:
        """Offer the run's outputs, and its own settings where the user has not changed any."""
        config = self.run.config() or ExperimentConfig()
        try:
            untouched = self.form.value() == self._shown
        except ConfigError:
            untouched = False
        self.outputs.offer(output_names(config))
        self._on_outputs()
        if untouched:
            self.form.set_value(config.inference_config)
            self._shown = self.form.value()

    def _on_outputs(self) -> None:
        """Let objects be separated where an output has some."""
        config = self.run.config()
        self.form.editors["instances"].refuse(
            "" if config is None else why_no_objects(config, self.outputs.value())
        )

    def _on_destination(self) -> None:
        to_store = self.destination.value() == "store"
        self._result.show_row(self.store, to_store)
        self.store_note.look(self.store.value() if to_store else None)

    def _on_store(self) -> None:
        """Call the button by what it will do."""
        self._result.show_row(self.store_note, self.store_note.state is not StoreState.ABSENT)
        self.panel.buttons["predict"].setText("Go on" if self.store_note.goes_on else "Predict")

    def _on_idle(self) -> None:
        super()._on_idle()
        self._on_destination()  # a store may be there now

    def _on_shown(self, layers: list[Any]) -> None:
        """Bring the sliders into view where there are objects that they can change."""
        if self.instances.offer(layers):
            self.show_in_view(self.instances)

    def _on_used(self, values: dict[str, Any]) -> None:
        """Take over how objects were separated last."""
        for name, value in values.items():
            self.form.editors[name].set_value(value)
        self.panel.say("The next prediction separates objects with these values.")

    def shut_down(self) -> None:
        """Let go of viewer and engine; a running prediction is cancelled."""
        self.instances.close_down()
        super().shut_down()
