"""The form of the Train dock: an `ExperimentConfig`, and the layers it is trained on."""

from __future__ import annotations

from typing import Any

from pydantic import ValidationError
from qtpy.QtCore import Signal
from qtpy.QtWidgets import QLabel, QVBoxLayout, QWidget

from ..config import (
    ConfigError,
    DatasetConfig,
    ExperimentConfig,
    NetworkConfig,
    SegtrainError,
    TrConfig,
    TrSetup,
)
from ..config.validation import describe_errors
from .auxiliary_table import AuxiliaryTable
from .choice_editors import Combo, DeviceEdit
from .data_spec import TrainingData, training_data
from .facts import describe_image
from .folding import fold
from .form import Form
from .form_rows import FormRows
from .held_folder import HeldFolder
from .layer_choice import LayerList, LayerWatch, is_image
from .layers import layer_axes
from .targets_table import TargetsTable


class TrainForm(QWidget):
    """Everything that decides what a run does.

    `inference_config` is not edited here but in the Predict dock; what `set_value` brought is kept.

    Parameters
    ----------
    watch
        Says which layers there are.
    """

    changed = Signal()

    def __init__(self, watch: LayerWatch) -> None:
        super().__init__()
        self._watch = watch
        self._inference = ExperimentConfig().inference_config
        self._prefilled: int | None = None
        self.images = LayerList("image", watch, is_image)
        self.folder = HeldFolder()
        self.several = Combo("several")
        self.several.set_items([("separate images", "images"), ("channels of one image", "channels")])
        self.facts = QLabel()
        self.facts.setObjectName("facts")
        self.facts.setWordWrap(True)
        self.targets = TargetsTable(watch, self.images.layers)
        self.auxiliary = AuxiliaryTable(self.targets.names)
        self.dataset = _form(
            DatasetConfig, "dataset_config", skip=("targets",), first=("ndim", "channel_axis")
        )
        self.training = _form(TrConfig, "tr_config")
        self.network = _form(NetworkConfig, "model_config")
        # Several processes train from the command line only.
        alone = ("devices", "num_nodes", "strategy")
        self.setup = _form(TrSetup, "tr_setup", editors={"device": DeviceEdit()}, skip=alone)
        self._lay_out()
        self._connect()
        self._on_layers()

    def _lay_out(self) -> None:
        self.images.setToolTip("Tick the layers to train on")
        self.images.setAccessibleName("Image layers")
        self.several.setToolTip("What several ticked layers are to each other")
        self._choice = FormRows()
        self._choice.add(self.folder)
        self._choice.add(self.images)
        self._choice.add_row("They are", self.several)
        self._choice.add(self.facts)
        image = _column(self._choice, self.dataset)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(4, 4, 8, 4)
        layout.setSpacing(6)
        for title, content, opened in (
            ("Image", image, True),
            ("Targets", self.targets, True),
            ("Auxiliary tasks", self.auxiliary, False),
            ("Training", self.training, True),
            ("Network", self.network, False),
            ("Run and hardware", self.setup, False),
        ):
            layout.addWidget(fold(title, content, opened=opened, heading=True))
        layout.addStretch(1)

    def _connect(self) -> None:
        self._watch.changed.connect(self.targets.suggest)
        self.images.changed.connect(self._on_layers)
        self.folder.changed.connect(self._on_layers)
        self.targets.changed.connect(self.auxiliary.refresh)
        for part in (self.targets, self.auxiliary, self.dataset, self.training, self.network, self.setup):
            part.changed.connect(self.changed)
        self.dataset.changed.connect(self._describe)
        self.several.changed.connect(self._describe)

    def _on_layers(self) -> None:
        chosen, layers = self.images.layers(), self.folder.value() is None
        self.images.setVisible(layers)
        self.facts.setVisible(layers)
        self._choice.show_row(self.several, layers and len(chosen) > 1)
        if chosen:
            self._prefill_channel_axis(chosen[0])
        self._describe()
        self.targets.suggest()
        self.changed.emit()

    def _prefill_channel_axis(self, layer: Any) -> None:
        """Show the axis that the layer's own axis labels call channels; what the user set stays."""
        editor = self.dataset.editors["channel_axis"]
        if editor.value() != self._prefilled:
            return
        try:
            letters = layer_axes(layer).letters
        except SegtrainError:
            letters = ""
        self._prefilled = letters.index("c") if "c" in letters else None
        editor.set_value(self._prefilled)

    def _describe(self) -> None:
        chosen = self.images.layers()
        if not chosen:
            self.facts.setText(
                "No image layer is ticked. Open an image, or take a sample from the File menu."
            )
            return
        try:
            text = describe_image(chosen[0], self.dataset.value(), self._as_channels() and len(chosen))
        except SegtrainError as error:
            text = str(error)
        self.facts.setText(text)

    def _as_channels(self) -> bool:
        return bool(self.several.value() == "channels" and len(self.images.layers()) > 1)

    def value(self) -> ExperimentConfig:
        """Return the experiment.

        Raises
        ------
        ConfigError
            Lists what is not valid.
        """
        parts: dict[str, Any] = {
            "dataset_config": self.dataset,
            "targets": self.targets,
            "auxiliary_tasks": self.auxiliary,
            "tr_config": self.training,
            "network": self.network,
            "tr_setup": self.setup,
        }
        values: dict[str, Any] = {"inference_config": self._inference}
        faults: list[str] = []
        for name, part in parts.items():
            try:
                values[name] = part.value()
            except ConfigError as error:
                faults.extend(error.faults)
        if faults:
            raise ConfigError.listing(faults)
        values["dataset_config"] = dict(values["dataset_config"]) | {"targets": values.pop("targets")}
        try:
            return ExperimentConfig.model_validate(values)
        except ValidationError as error:
            raise ConfigError.listing(describe_errors(error, ExperimentConfig)) from None

    def set_value(self, value: ExperimentConfig) -> None:
        """Show an experiment."""
        self._inference = value.inference_config
        self.setup.set_value(value.tr_setup)
        self.training.set_value(value.tr_config)
        self.network.set_value(value.network)
        self.dataset.set_value(value.dataset_config)
        self.targets.set_value(value.dataset_config.targets)
        self.auxiliary.refresh()
        self.auxiliary.set_value(value.auxiliary_tasks)

    def use_size(self, patch_size: tuple[int, ...], batch_size: int) -> None:
        """Show another patch and batch size; everything else stays as it is."""
        shown = self.training.value()
        self.training.set_value(shown.replace(patch_size=patch_size, batch_size=batch_size))

    def data(self) -> TrainingData:
        """Return what the engine is told to train on.

        Raises
        ------
        ConfigError, DataError
            When layers are missing or do not fit each other.
        """
        folder = self.folder.value()
        if folder is not None:
            return TrainingData(spec=str(folder))
        return training_data(
            self.images.layers(),
            self.targets.layers(),
            self.value().dataset_config,
            all_layers=list(self._watch.viewer.layers),
            as_channels=self._as_channels(),
        )


def _form(model: Any, name: str, **options: Any) -> Form:
    form = Form(model, **options)
    form.setObjectName(name)
    return form


def _column(*widgets: QWidget) -> QWidget:
    box = QWidget()
    layout = QVBoxLayout(box)
    layout.setContentsMargins(0, 0, 0, 0)
    layout.setSpacing(4)
    for widget in widgets:
        layout.addWidget(widget)
    return box
