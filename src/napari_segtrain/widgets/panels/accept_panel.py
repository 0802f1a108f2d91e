"""Controls that take a prediction over into labels."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import numpy as np
from qtpy.compat import isalive
from qtpy.QtCore import Qt, QTimer, Signal
from qtpy.QtGui import QWheelEvent
from qtpy.QtWidgets import (
    QCheckBox,
    QLabel,
    QLineEdit,
    QPushButton,
    QSizePolicy,
    QSpinBox,
    QVBoxLayout,
    QWidget,
)

from ...config import DataError, DataFacts, SegtrainError, TargetConfig
from ...runs import find_run
from ...targets import background_value, resolve_targets
from ..forms import notify
from ..forms.form_rows import FormRows
from ..layers.accept import Acceptance, Values
from ..layers.accept_values import parse_values, suggest_values, values_of
from ..layers.axes import level_data
from ..layers.instance_settings import has_parts
from ..layers.largest_label import LargestLabel
from ..layers.layer_choice import LayerCombo, LayerWatch, is_labels
from ..layers.layer_kind import layer_kind
from ..layers.regions import Region, drawn_regions, visible_region
from ..layers.results import OURS
from ..layers.view import visible_box
from ..sessions.followers import perform

_REST = 1000
"""Milliseconds between two looks at layers whose values do not tell yet what they mean."""
_TIPS = {
    "prediction": "The predicted labels: a live preview, or the result of a prediction.",
    "accept_into": "The Labels layer that you paint on and train from.",
    "accept_where": "Only here: what is visible of the slice, or inside shapes of a Shapes layer: its "
    "selected ones, else all. A shape means the slice that it was drawn in.",
    "accept_values": "How predicted values are written, such as 1 → 2, 0 → 1; values that are not named "
    "are not written. Empty: as they are. new objects: an object goes on with the painted one that it "
    "covers, else it gets a new number.",
    "accept_unlabelled": "The label that means unlabelled: only voxels that have it are written.",
    "accept_overwrite": "Write over what is painted already, too.",
    "accept": "Write the prediction into the labels, as one step that Undo (Ctrl+Z) of the layer takes back",
}
_ACCEPT = "Accept prediction into labels"
_SHOW_EVERY = 150
"""Milliseconds between two looks at how far it is."""


class AcceptPanel(QWidget):
    """Which prediction goes into which labels, where, and as what.

    Parameters
    ----------
    watch
        An eye on the layers.
    """

    ended = Signal()
    """What was asked for is done, or refused."""

    def __init__(self, watch: LayerWatch) -> None:
        super().__init__()
        self._viewer = watch.viewer
        self._worker: Any = None
        self._current: Acceptance | None = None
        self._largest: dict[Any, LargestLabel] = {}
        self._guessed: tuple[Any, Any] = (None, None)
        self._offered = ("", 0)
        self._target: TargetConfig | None = None
        self._unsure = False
        self._later = QTimer(self)
        self._later.setSingleShot(True)
        self._later.setInterval(_REST)
        self._later.timeout.connect(self._look_again)
        self.busy = False
        self.prediction = LayerCombo("prediction", watch, is_prediction)
        self.labels = LayerCombo("accept_into", watch, is_target)
        self.where = LayerCombo("accept_where", watch, is_shapes, empty="visible region")
        self.values = QLineEdit()
        self.values.setObjectName("accept_values")
        self.values.setPlaceholderText("as they are")
        self.unlabelled = _Number()
        self.unlabelled.setObjectName("accept_unlabelled")
        self.unlabelled.setRange(-(2**31), 2**31 - 1)
        self.overwrite = QCheckBox("Overwrite labels")
        self.overwrite.setObjectName("accept_overwrite")
        self.button = QPushButton(_ACCEPT)
        self.button.setObjectName("accept")
        self.status = QLabel()
        self.status.setObjectName("accept_status")
        self.status.setWordWrap(True)
        self.status.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Minimum)
        self._lay_out()
        for combo in (self.prediction, self.labels):
            combo.changed.connect(self._guess)
        for changed in (
            self.where.changed, self.values.textChanged, self.unlabelled.valueChanged, self.overwrite.toggled,
        ):  # fmt: skip
            changed.connect(self._forget)
        self._looks = QTimer(self)
        self._looks.setInterval(_SHOW_EVERY)
        self._looks.timeout.connect(self._show_progress)
        self.button.clicked.connect(lambda: self.cancel() if self.busy else self.accept())
        watch.removed.connect(self._let_go)
        watch.at_stop(self._let_go_of_all)
        self._guess()

    def _lay_out(self) -> None:
        rows = FormRows()
        controls: tuple[QWidget, ...] = (
            self.prediction, self.labels, self.where, self.values, self.unlabelled, self.overwrite,
        )  # fmt: skip
        titles = ("Prediction", "Into labels", "Where", "Write as", "Unlabelled is", "")
        for control in (*controls, self.button):
            control.setToolTip(_TIPS[control.objectName()])
        for title, control in zip(titles, controls, strict=True):
            rows.add_row(title, control)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(4)
        layout.addWidget(rows)
        layout.addWidget(self.button)
        layout.addWidget(self.status)

    # ------------------------------------------------------------------------------- actions

    def accept(self) -> None:
        """Write what is chosen; says why not when it cannot."""
        if self.busy:
            return
        try:
            acceptance = self._acceptance()
        except SegtrainError as error:
            self._end(str(error), well=False)
            return
        self.busy = True
        self.button.setEnabled(False)
        self.status.setText("Reading the prediction …")
        self._look_up(acceptance)

    def _look_up(self, acceptance: Acceptance) -> None:
        self._current = acceptance
        self._looks.start()
        self._worker = perform(acceptance.compute)
        self._worker.returned.connect(lambda result: self._on_computed(acceptance, *result))
        self._worker.start()

    def _acceptance(self) -> Acceptance:
        prediction, labels = self.prediction.layer(), self.labels.layer()
        if prediction is None:
            raise DataError(
                "there is no prediction yet; train with a live preview, or predict, and choose it"
            )
        if labels is None:
            raise DataError("no Labels layer is chosen; add one to paint on, and choose it under Into labels")
        table, objects = parse_values(self.values.text())
        if table is None:
            self._refuse_mask_of_objects(prediction)
        target = self._target_of(prediction)
        background = 0 if target is None else background_value(target)
        values = Values(table, objects, self.unlabelled.value(), self.overwrite.isChecked(), background)
        if labels not in self._largest:
            self._largest[labels] = LargestLabel(self._viewer, labels)
        return Acceptance(
            self._viewer, prediction, labels, self._regions(labels), values, self._largest[labels]
        )

    def _target_of(self, prediction: Any) -> TargetConfig | None:
        """Return the target that a prediction is of, as far as is known by now."""
        target: TargetConfig | None = prediction.metadata[OURS].get("target")
        return self._target if target is None and prediction == self._guessed[0] else target

    def _refuse_mask_of_objects(self, prediction: Any) -> None:
        target = self._target_of(prediction)
        if target is None or target.kind != "instances" or numbers_objects(prediction):
            return
        objects = _objects_of(self._viewer, prediction)
        remedy = "predict it with Instances ticked, in the Predict dock"
        if objects is not None:
            remedy = f"show and choose {objects.name!r}, which separates them"
        raise DataError(
            f"{prediction.name!r} is a mask, in which all objects have the same number: {remedy}; or write "
            "such as 1 → 7 under Write as, where a shape holds a single object"
        )

    def _regions(self, labels: Any) -> list[Region]:
        if self.where.value() is None:
            return [visible_region(self._viewer, labels)]
        shapes = self.where.layer()
        if shapes is None:
            raise DataError(f"{self.where.currentText()}: the Shapes layer is gone; choose another place")
        return drawn_regions(self._viewer, shapes, labels)

    def _on_computed(self, acceptance: Acceptance, found: bool | None, fault: str) -> None:
        if acceptance is not self._current:
            return
        if found and acceptance.stale:
            self._repeat(acceptance)
            return
        self.busy = False
        if not found:
            acceptance.close()
        if fault:
            self._end(f"The prediction cannot be read: {fault}", well=False)
        elif not found:
            self._end(_nothing_in(self.prediction.layer()), well=False)
        else:
            self._write(acceptance)

    def cancel(self) -> None:
        """Give up what is under way; nothing is written."""
        if self.busy:
            self._give_up()
            self._end("Cancelled; nothing was written.")

    def _give_up(self) -> None:
        self.busy = False
        self._looks.stop()
        if self._current is not None:
            self._current.stopped = True
            self._current.close()
            self._current = None

    def _show_progress(self) -> None:
        """Say how much of the labels was read, where that takes long enough to be seen."""
        share = None if self._current is None else self._current.share
        if share is None:
            return
        self.status.setText(f"Reading the labels to find free numbers … {100 * share:.0f} %")
        self.button.setText("Cancel")
        self.button.setEnabled(True)

    def _repeat(self, acceptance: Acceptance) -> None:
        """Look up anew: somebody painted meanwhile."""
        try:
            self._look_up(acceptance.again())
        except SegtrainError as error:
            self.busy = False
            self._end(str(error), well=False)

    def _write(self, acceptance: Acceptance) -> None:
        try:
            count = acceptance.apply()
        except SegtrainError as error:
            self._end(str(error), well=False)
            return
        where = "where this region is predicted" if acceptance.in_part else "in this region"
        if count:
            rest = " A part of the region is not predicted; it stays as it is." if acceptance.in_part else ""
            self._end(
                f"Accepted {count:,} voxels into {self.labels.value()!r}; its Undo takes them back.{rest}"
            )
        else:
            reason = "the labels are the same" if self.overwrite.isChecked() else "everything is labelled"
            self._end(f"Nothing was written: {reason} {where}.")

    def _end(self, text: str, *, well: bool = True) -> None:
        self._looks.stop()
        self._current = None
        self.button.setText(_ACCEPT)
        self.button.setEnabled(True)
        self.status.setText(text)
        if not well:
            notify.error(text)
        self.ended.emit()

    def _forget(self) -> None:
        """Say no more what came of other values."""
        if not self.busy:
            self.status.setText("")

    def close_down(self) -> None:
        """Give up what is under way."""
        self._give_up()
        self._follow((None, None))

    def _let_go(self, layer: Any) -> None:
        if layer in self._largest:
            self._largest.pop(layer).close()

    def _let_go_of_all(self) -> None:
        for layer in list(self._largest):
            self._let_go(layer)

    # --------------------------------------------------------------------------- first guess

    def _guess(self) -> None:
        """Look which values the layers have, and offer how the one's are written into the other's."""
        pair = (self.prediction.layer(), self.labels.layer())
        if None in pair or pair == self._guessed:
            return
        self._follow(pair)
        self._offered = self._said()
        self._read()

    def _follow(self, pair: tuple[Any, Any]) -> None:
        """Look at other layers: what is predicted and painted on them later may tell more."""
        for layer in self._guessed:
            if layer is not None:
                layer.events.set_data.disconnect(self._on_refresh)
        self._guessed, self._target, self._unsure = pair, None, False
        for layer in pair:
            if layer is not None:
                layer.events.set_data.connect(self._on_refresh)

    def _on_refresh(self, _: Any = None) -> None:
        if self._unsure and not self._later.isActive():
            self._later.start()

    def _look_again(self) -> None:
        if self._unsure and self._said() == self._offered:
            self._read()

    def _said(self) -> tuple[str, int]:
        return self.values.text(), self.unlabelled.value()

    def _read(self) -> None:
        self._unsure = False
        pair = self._guessed
        jobs = [
            (level_data(layer, 0), tuple(slice(*side) for side in visible_box(self._viewer, layer)))
            for layer in pair
        ]
        ours = pair[0].metadata[OURS]
        worker = perform(lambda: ([values_of(*job) for job in jobs], target_of(ours)))
        worker.returned.connect(lambda result: self._on_guess(pair, result[0]))
        worker.start()

    def _on_guess(self, pair: tuple[Any, Any], found: Any) -> None:
        if not isalive(self) or pair != self._guessed or found is None:
            return
        (values, own), self._target = found
        objects = numbers_objects(pair[0])
        text, unlabelled = suggest_values(values, own, objects, self._target)
        # A mask is known by its target alone: 0 and 1 may be the first of more classes that are predicted.
        nothing_painted = not set(own) - {unlabelled}
        unknown = self._target is None and "preview" in pair[0].metadata[OURS]
        self._unsure = not objects and bool(text) and (unknown or nothing_painted)
        if self._said() == self._offered:  # else the user has written something meanwhile
            self._offered = (text, unlabelled)
            self.values.setText(text)
            self.unlabelled.setValue(unlabelled)


class _Number(QSpinBox):
    def __init__(self) -> None:
        super().__init__()
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setAlignment(Qt.AlignmentFlag.AlignRight)

    def wheelEvent(self, event: QWheelEvent) -> None:
        """Scroll the dock, not the number, unless the user is editing it."""
        if self.hasFocus():
            super().wheelEvent(event)
        else:
            event.ignore()


def is_prediction(layer: Any) -> bool:
    """Return whether a layer holds predicted labels."""
    ours = layer.metadata.get(OURS, {})
    return layer_kind(layer) == "Labels" and bool(ours.get("preview") or ours.get("result"))


def is_target(layer: Any) -> bool:
    """Return whether a prediction can be accepted into a layer."""
    return is_labels(layer) and not is_prediction(layer)


def is_shapes(layer: Any) -> bool:
    """Return whether shapes are drawn in a layer."""
    return layer_kind(layer) == "Shapes"


def numbers_objects(prediction: Any) -> bool:
    """Return whether the values of a prediction are numbers of separated objects."""
    return has_parts(prediction) or bool(prediction.dtype == np.int32)


def _objects_of(viewer: Any, mask: Any) -> Any:
    """Return the live layer that separates the objects of a live mask, None where there is none."""
    ours = mask.metadata[OURS]
    for layer in viewer.layers:
        other = layer.metadata.get(OURS, {})
        same = all(other.get(key) == ours.get(key) for key in ("preview", "image", "head"))
        if same and ours.get("preview") and has_parts(layer):
            return layer
    return None


def _nothing_in(prediction: Any) -> str:
    """Say that nothing is predicted, and why where the layer tells it."""
    if prediction is not None and has_parts(prediction) and not prediction.visible:
        return f"The objects of {prediction.name!r} are separated while the layer is shown; show it first."
    return "There is no prediction in this region; choose a place that was predicted."


def target_of(ours: Mapping[str, Any]) -> TargetConfig | None:
    """Return the target that a prediction is of, by its layer's metadata, where its run still says so.

    Its kind is what the run has taken it for. Reads files.
    """
    if isinstance(ours.get("target"), TargetConfig):
        found: TargetConfig = ours["target"]
        return found
    path = ours.get("settings", {}).get("checkpoint", {}).get("path")
    try:
        if path is None:
            return None
        run = find_run(path)
        config, head = run.read_config(), ours["head"]
        with suppress(SegtrainError):
            return resolve_targets(config, run.read_as("resolved.json", _facts)).get(head)
        return config.dataset_config.targets.get(head)
    except (SegtrainError, KeyError):
        return None


def _facts(resolved: Any) -> DataFacts:
    return DataFacts.model_validate(resolved["facts"])
