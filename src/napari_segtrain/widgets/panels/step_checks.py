"""What can be asked of a training that is stepped through, besides the next step."""

from __future__ import annotations

from collections.abc import Sequence

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QHBoxLayout, QPushButton, QWidget

from ..forms.choice_editors import Combo
from ..forms.form_rows import FormRows
from ..forms.number_editors import FloatEdit, IntEdit
from ..forms.schema import Key, Shape

_BATCHES = Key("batches", Shape.INT, False, "Batches", "", "", "common", lower=1, upper=1_000_000)
_PATCH = Key("patch", Shape.INT, False, "Patch", "", "", "common", lower=0, upper=0)
_STEPS = Key("overfit_steps", Shape.INT, False, "Steps", "", "", "common", lower=1, upper=100_000)
_RATE = Key("what_if_rate", Shape.FLOAT, False, "Learning rate", "", "", "common", lower=0.0)


class StepChecks(QWidget):
    """Rows of a value and a button that asks about it.

    A button can be pressed while its question is legal; values can always be changed.
    """

    asked = Signal(str, dict)
    """The action, and its values (see `StepRequest`)."""

    def __init__(self) -> None:
        super().__init__()
        self.batches, self.patch, self.steps = IntEdit(_BATCHES), IntEdit(_PATCH), IntEdit(_STEPS)
        self.rate, self.stage = FloatEdit(_RATE), Combo("stage")
        self.batches.set_value(5)
        self.steps.set_value(200)
        self.rate.set_value(0.01)
        self.stage.set_items([("none", "")])
        self.batches.setToolTip("How many batches are taken one after the other")
        self.stage.setToolTip("Stage of the network whose features are shown after the forward pass")
        self.rate.setToolTip("Another learning rate than that of the coming step")
        self.patch.setToolTip("Which patch of the batch, from 0, as the slider of the layers counts them")
        self.steps.setToolTip("Most steps that are taken on the patch")
        self.buttons = {
            "run_batches": _button("run_batches", "Run", "Take all steps of so many batches"),
            "show_activations": _button(
                "show_activations", "Show", "Show the features of this stage for the batch, as a layer"
            ),
            "what_if": _button(
                "what_if",
                "What if?",
                "Say what the loss of this batch would be after a step with this rate; nothing is changed",
            ),
            "overfit": _button(
                "overfit",
                "Overfit",
                "Let a copy of the network learn this one patch by heart, and say whether it could: if not, "
                "labels, learning rate or network do not fit",
            ),
        }
        rows = FormRows()
        for title, editor, action in (
            ("Batches", self.batches, "run_batches"),
            ("Activations", self.stage, "show_activations"),
            ("Learning rate", self.rate, "what_if"),
            ("Patch", self.patch, ""),
            ("Overfit steps", self.steps, "overfit"),
        ):
            rows.add_row(title, self._beside(editor, action) if action else editor)
            editor.setAccessibleName(title)
        layout = QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(rows)
        for name, button in self.buttons.items():
            button.clicked.connect(lambda _=False, name=name: self.asked.emit(name, self.values(name)))
        self.allow(())

    def _beside(self, editor: QWidget, action: str) -> QWidget:
        box = QWidget()
        box.setToolTip(editor.toolTip())
        box.setFocusProxy(editor)
        row = QHBoxLayout(box)
        row.setContentsMargins(0, 0, 0, 0)
        row.addWidget(editor, 1)
        row.addWidget(self.buttons[action])
        return box

    def values(self, action: str) -> dict[str, object]:
        """Return what belongs to a question."""
        known: dict[str, dict[str, object]] = {
            "run_batches": {"number": self.batches.value()},
            "show_activations": {"stage": self.stage.value()},
            "what_if": {"learning_rate": self.rate.value()},
            "overfit": {"number": self.steps.value(), "patch": self.patch.value()},
            "forward_pass": {"stage": self.stage.value()},
        }
        return known.get(action, {})

    def offer(self, stages: Sequence[str], patches: int) -> None:
        """Offer the stages of a network, and the patches of a batch."""
        if self.stage.offered() != ["", *stages]:
            self.stage.set_items([("none", ""), *((stage, stage) for stage in stages)])
        self.patch.setMaximum(max(0, patches - 1))

    def allow(self, actions: Sequence[str]) -> None:
        """Enable the buttons of what can be asked now."""
        for name, button in self.buttons.items():
            button.setEnabled(name in actions)


def _button(name: str, text: str, tip: str) -> QPushButton:
    button = QPushButton(text)
    button.setObjectName(name)
    button.setToolTip(tip)
    return button
