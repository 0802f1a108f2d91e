"""The form of the Train dock: an `ExperimentConfig`, and the layers it is trained on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import ValidationError
from qtpy.QtCore import Signal
from qtpy.QtWidgets import QLabel, QVBoxLayout, QWidget

from ...config import (
    ConfigError,
    DatasetConfig,
    ExperimentConfig,
    NetworkConfig,
    SegtrainError,
    TrConfig,
    TrSetup,
)
from ...config.validation import describe_errors
from ...data.folder_facts import named
from ...data.records import Record
from ..forms import notify
from ..forms.auxiliary_table import AuxiliaryTable
from ..forms.choice_editors import Combo, DeviceEdit
from ..forms.folding import fold
from ..forms.form import Form
from ..forms.form_rows import FormRows
from ..layers.axes import layer_axes
from ..layers.data_spec import TrainingData, image_shape, named_layer, training_data
from ..layers.facts import describe_image
from ..layers.folder_data import folder_data, labels_beside
from ..layers.layer_choice import LayerList, LayerWatch, is_image
from ..panels.axes_choice import AxesChoice, common_channel_axis
from ..panels.data_folder import DataFolder, OpenedImage
from ..panels.glances import Glances, PaintedFile, PaintedLayer
from ..panels.targets_table import TargetCard, TargetsTable


class TrainForm(QWidget):
    """Everything that decides what a run does.

    `inference_config` is not edited here but in the Predict dock; what `set_value` brought is kept.

    Parameters
    ----------
    watch
        Says which layers there are.
    """

    changed = Signal()
    row_asked = Signal(str)
    """A preview of the target or the auxiliary task of this name."""

    def __init__(self, watch: LayerWatch) -> None:
        super().__init__()
        self._watch = watch
        self._inference = ExperimentConfig().inference_config
        self._prefilled: int | None = None
        self._own: tuple[str, ...] | None = None
        self.images = LayerList("image", watch, is_image)
        self.folder = DataFolder(self._reading)
        self.axes = AxesChoice()
        self.several = Combo("several")
        self.several.set_items([("separate images", "images"), ("channels of one image", "channels")])
        self.facts = QLabel()
        self.facts.setObjectName("facts")
        self.facts.setWordWrap(True)
        self.targets = TargetsTable(watch, self.images.layers, self._named)
        self.auxiliary = AuxiliaryTable(self.targets.names)
        self.glances = Glances(watch, self.targets, self._painted)
        self.dataset = _form(DatasetConfig, "dataset_config", skip=("targets",))
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
        self._choice.add_row("Axes", self.axes)
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
        self.folder.changed.connect(self._on_folder)
        self.folder.opened.connect(self._add_image)
        self.targets.changed.connect(self.auxiliary.refresh)
        self.targets.asked.connect(self.row_asked)
        self.auxiliary.asked.connect(self.row_asked)
        for part in (self.targets, self.auxiliary, self.dataset, self.training, self.network, self.setup):
            part.changed.connect(self.changed)
        self.dataset.changed.connect(self._describe)
        self.dataset.changed.connect(self.glances.refresh)
        self.dataset.changed.connect(self.folder.refresh)
        self.several.changed.connect(self._describe)
        self.several.changed.connect(self._offer_images)
        self.axes.picked.connect(self._take_axes)

    def _on_layers(self) -> None:
        chosen, layers = self.images.layers(), self.folder.value() is None
        self._choice.show_row(self.several, layers and len(chosen) > 1)
        self._choice.show_row(self.axes, layers and bool(chosen))
        self._offer_images()
        if chosen:
            self._prefill_channel_axis(chosen)
        self._describe()
        self.targets.suggest()
        self.glances.refresh()
        self.changed.emit()

    def _on_folder(self) -> None:
        facts, held = self.folder.facts, self.folder.value() is not None
        if held is (self._own is None):
            # What is ticked beside a folder is another choice than what is trained on without one.
            self._own, ticked = (self.images.value(), ()) if held else (None, self._own or ())
            self.images.set_value(ticked)
            if not held and not ticked:
                self.images.begin_anew()
        if facts is not None:
            self.targets.offer_files(facts.label_names, facts.dataset.mask_names)
        elif not held:
            self.targets.offer_files(None, None)
        self._on_layers()

    def _reading(self) -> DatasetConfig:
        """Return how files are read; as it is told from them while the settings are not valid."""
        try:
            return DatasetConfig.model_validate(self.dataset.value())
        except ConfigError:
            return DatasetConfig()

    def _add_image(self, name: str, opened: OpenedImage) -> None:
        """Open an image of the folder where its predictions will lie, with its labels, and tick it.

        Once: a second copy, with other names, would be painted on, and the first one trained on.
        """
        record, viewer = opened.record, self._watch.viewer
        if name in viewer.layers:
            notify.info(f"{name!r} is open already")
            return
        steps = dict(zip("zyx"[-record.ndim :], record.spacing, strict=True))

        def options(title: str, axes: str) -> dict[str, Any]:
            return {
                "name": title,
                "scale": [steps.get(axis, 1.0) for axis in axes],
                "units": [record.image.unit if axis in steps else "pixel" for axis in axes],
                "axis_labels": tuple(axes),
            }

        viewer.add_image(opened.image, rgb=False, **options(name, opened.axes))
        for ending, array in opened.painted.items():
            labels = array.dtype.kind in "iu"
            add = viewer.add_labels if labels else viewer.add_image
            add(array, **options(f"{name}_{ending}", opened.axes.replace("c", "")))
        if opened.painted:
            self.images.set_value((*self.images.value(), name))

    def _folder_data(self, folder: Path, config: DatasetConfig) -> TrainingData:
        """Return the folder, with the open images that are ticked, and those that previews are shown on."""
        images = self._watch.of_kind(is_image)
        return folder_data(
            folder, self._known(), self.images.layers(), images, config, list(self._watch.viewer.layers)
        )

    def _known(self) -> dict[str, list[Record]]:
        """Return the records of each image of the folder."""
        return {} if self.folder.facts is None else self.folder.facts.images

    def _offer_images(self) -> None:
        single = self._as_channels() or self.folder.value() is not None
        self.targets.offer_images([] if single else self.images.layers())
        self.glances.refresh()

    def _named(self, image: Any, suffix: str, own: Any) -> Any:
        """Return the layer that an image's labels, or its mask, are on when none is chosen."""
        try:
            shape = image_shape(image, self.dataset.value())
        except SegtrainError:
            return None
        layers = list(self._watch.viewer.layers)
        return named_layer(image, shape, suffix, own, self.images.layers(), layers)

    def _prefill_channel_axis(self, layers: list[Any]) -> None:
        """Show the axis that the layers' own axis labels call channels; what the user set stays."""
        editor = self.dataset.editors["channel_axis"]
        if editor.value() == self._prefilled:
            self._prefilled = common_channel_axis(layers)
            editor.set_value(self._prefilled)

    def _take_axes(self) -> None:
        """Write what was chosen under Axes into the two keys that stand for it."""
        for name, value in zip(("ndim", "channel_axis"), self.axes.value(), strict=True):
            self.dataset.editors[name].set_value(value)

    def _describe(self) -> None:
        chosen = self.images.layers()
        if self.folder.value() is not None:
            self.facts.setText(self._beside(chosen))
            return
        if not chosen:
            self.facts.setText(
                "No image layer is ticked. Open an image, or take a sample from the File menu."
            )
            return
        try:
            dataset = self.dataset.value()
            self.axes.offer(chosen[0], (dataset.ndim, dataset.channel_axis))
            text = describe_image(chosen[0], dataset, self._as_channels() and len(chosen))
            if len(chosen) > 1 and not self._as_channels():
                text = f"{chosen[0].name}: {text}; {len(chosen) - 1} more to train on"
        except SegtrainError as error:
            text = str(error)
        self.facts.setText(text)

    def _beside(self, chosen: list[Any]) -> str:
        """Say what the ticked images are to the folder."""
        if not chosen:
            return (
                "Tick open images to train on them too, with their labels <image>_<target>: beside the "
                "folder, or in the place of its files of that name."
            )
        try:
            config = self.value().dataset_config
        except ConfigError:
            return ""
        lines = []
        for name, labels in labels_beside(chosen, config, list(self._watch.viewer.layers)).items():
            where = "in the place of its files, which stay as they are" if name in self._known() else "beside"
            painted = " and ".join(labels)
            lines.append(f"{name}: {painted} {where}" if labels else f"{name}: no labels are open")
        return "\n".join(lines)

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

    def begin_with(self, device: str, *, keep_labels: bool) -> None:
        """Show what the user prefers for new runs; everything else stays as it is."""
        self.setup.editors["device"].set_value(device)
        self.training.editors["keep_labels"].set_value(keep_labels)

    def use_size(self, patch_size: tuple[int, ...], batch_size: int) -> None:
        """Show another patch and batch size; everything else stays as it is."""
        shown = self.training.value()
        self.training.set_value(shown.replace(patch_size=patch_size, batch_size=batch_size))

    def data(self, config: ExperimentConfig | None = None) -> TrainingData:
        """Return what the engine is told to train on.

        Parameters
        ----------
        config
            An experiment with fewer targets than the dock shows; what it shows when None.

        Raises
        ------
        ConfigError, DataError
            When layers are missing or do not fit each other.
        """
        folder, dataset = self.folder.value(), (config or self.value()).dataset_config
        if folder is not None:
            return self._folder_data(folder, dataset)
        layers = self.targets.layers(None if config is None else dataset.targets)
        return training_data(
            self.images.layers(),
            layers,
            dataset,
            all_layers=list(self._watch.viewer.layers),
            as_channels=self._as_channels(),
            chosen=self.targets.chosen(),
        )

    def _painted(self, card: TargetCard) -> list[PaintedLayer] | list[PaintedFile]:
        """Return what a row's target is painted on: layers, or files of the folder."""
        if self.folder.value() is not None:
            return self._painted_files(card)
        labels, images = card.labels.layer(), self.images.layers()
        if labels is None or not images:
            return []
        try:
            dataset = self.dataset.value()
            ndim = layer_axes(images[0], dataset.ndim, dataset.channel_axis).ndim
        except SegtrainError:
            return []
        pairs = card.pairs.layers() or [(labels, card.mask.layer())]
        return [PaintedLayer(*pair, dataset.level, ndim) for pair in pairs if pair[0] is not None]

    def _painted_files(self, card: TargetCard) -> list[PaintedFile]:
        facts = self.folder.facts
        if facts is None:
            return []
        labels = named(str(card.name.text()).strip(), card.labels.value(), facts.label_names)
        return [PaintedFile(part) for part in facts.painted(labels, card.mask.value())]


def of_row(config: ExperimentConfig, name: str) -> ExperimentConfig:
    """Return an experiment of one target and its auxiliary tasks, or of one task and its source target."""
    targets, tasks = config.dataset_config.targets, config.auxiliary_tasks
    if name in tasks:
        kept, target = {name: tasks[name]}, tasks[name].source_target
    else:
        kept, target = {n: task for n, task in tasks.items() if task.source_target == name}, name
    return config.replace(
        dataset_config=config.dataset_config.replace(targets={target: targets[target]}),
        auxiliary_tasks=kept,
        tr_config=config.tr_config.replace(monitor=TrConfig().monitor),  # it may name another row
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
