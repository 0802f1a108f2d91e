"""Forms made from the schema: one editor a key, and a value that is the pydantic model itself."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol

from pydantic import ValidationError
from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import QLabel, QSizePolicy, QStackedWidget, QVBoxLayout, QWidget

from ...config import Config, ConfigError
from ...config.validation import describe_errors
from .choice_editors import BoolEdit, ChoiceEdit, Combo
from .folding import fold
from .form_rows import INDENT, FormRows
from .losses_editor import LossesEdit
from .number_editors import FloatEdit, IntEdit
from .schema import Key, Shape, keys_of, tag_of
from .text_editors import MappingEdit, SequenceEdit, TextEdit


class Editor(Protocol):
    """A widget that shows one value: `value()` and `set_value()` are inverse to each other."""

    changed: Any

    def value(self) -> Any:
        """Return what the widget shows; raises ValueError or ConfigError when it cannot be read."""

    def set_value(self, value: Any) -> None:
        """Show a value."""


class Form(QWidget):
    """Editors for the keys of one configuration class.

    Common keys are visible, the others are folded under "More".

    Parameters
    ----------
    model
        The configuration class.
    editors
        Editors of the caller's own for single keys.
    skip
        Keys that are edited elsewhere; `value()` gives them their default unless `set_value` said more.
    first
        Keys that are visible at the top, in this order, whatever level the schema gives them.
    inset
        Pixels by which the form stands further right than others, whose editors it shall be in line with.
    """

    changed = Signal()

    def __init__(
        self,
        model: type[Config],
        *,
        editors: Mapping[str, QWidget] | None = None,
        skip: Iterable[str] = (),
        first: Sequence[str] = (),
        inset: int = 0,
    ) -> None:
        super().__init__()
        self.model = model
        self._keys = {key.name: key for key in keys_of(model) if key.name not in set(skip)}
        self._kept: dict[str, Any] = {}
        self.within = ""
        """Where the experiment has these keys, for messages; the object's name when empty."""
        self._skip = frozenset(skip)
        given = editors or {}
        self.editors: dict[str, Any] = {
            name: given[name] if name in given else editor_for(key) for name, key in self._keys.items()
        }
        self._inset = inset
        self._labels: dict[str, QLabel] = {}
        common = [key for key in self._keys.values() if key.level == "common" and key.name not in first]
        self._lay_out([*(self._keys[name] for name in first), *common])
        self._show_defaults()
        for editor in self.editors.values():
            editor.changed.connect(self._on_change)

    def _show_defaults(self) -> None:
        for name, field in self.model.model_fields.items():
            editor = self.editors.get(field.alias or name)
            if editor is not None and not field.is_required():
                editor.set_value(field.get_default(call_default_factory=True))

    def _lay_out(self, visible: list[Key]) -> None:
        outer = QVBoxLayout(self)
        outer.setContentsMargins(0, 0, 0, 0)
        outer.setSpacing(4)
        folded = [key for key in self._keys.values() if key not in visible]
        if visible:
            outer.addWidget(self._rows(visible))
        if folded and visible:
            self.more = fold("More", self._rows(folded))
            outer.addWidget(self.more)
        elif folded:
            outer.addWidget(self._rows(folded))

    def _rows(self, keys: list[Key]) -> QWidget:
        box = FormRows(self._inset)
        for key in keys:
            editor = self.editors[key.name]
            editor.setToolTip(self._tip(key))
            editor.setAccessibleName(key.title)
            if key.shape is Shape.GROUP:
                box.add(fold(key.title, editor, indent=INDENT, tip=key.description))
            elif key.shape is Shape.UNION:
                box.add(editor)
            else:
                self._labels[key.name] = box.add_row(key.title, editor)
        return box

    def _tip(self, key: Key) -> str:
        """Return a key's description, with its unit where the editor does not show it."""
        shown = getattr(self.editors[key.name], "suffix", str)()
        return f"{key.description} In {key.unit}." if key.unit and not shown else key.description

    def value(self) -> Any:
        """Return the model.

        Raises
        ------
        ConfigError
            Lists every key whose text cannot be read or whose value is not allowed.
        """
        faults, values = [], dict(self._kept)
        for name, editor in self.editors.items():
            try:
                values[name] = editor.value()
            except ValueError as error:
                faults.append(f"{self._keys[name].title}: {error}")
            except ConfigError as error:
                faults.extend(error.faults)
        if faults:
            raise ConfigError.listing(faults)
        try:
            return self.model.model_validate(values)
        except ValidationError as error:
            faults = describe_errors(error, self.model, self.within or self.objectName())
            raise ConfigError.listing(faults) from None

    def set_value(self, value: Any) -> None:
        """Show a model."""
        self.blockSignals(True)
        for name, field in self.model.model_fields.items():
            key = field.alias or name
            if key in self.editors:
                self.editors[key].set_value(getattr(value, name))
            elif key in self._skip:
                self._kept[key] = getattr(value, name)
        self.blockSignals(False)
        self._on_change()

    def _on_change(self) -> None:
        if self.signalsBlocked():
            return
        self._mark_faults()
        self.changed.emit()

    def _mark_faults(self) -> None:
        """Show next to each control what is wrong with it, in words, not by colour alone."""
        faults: dict[str, str] = {}
        values = dict(self._kept)
        for name, editor in self.editors.items():
            try:
                values[name] = editor.value()
            except (ValueError, ConfigError) as error:
                faults[name] = str(error)
        try:
            self.model.model_validate(values)
        except ValidationError as error:
            for item in error.errors(include_url=False):
                if item["loc"] and item["loc"][0] in values:
                    faults.setdefault(str(item["loc"][0]), str(item["msg"]).removeprefix("Value error, "))
        for name, label in self._labels.items():
            self._mark(label, self._keys[name], faults.get(name, ""))

    def _mark(self, label: QLabel, key: Key, fault: str) -> None:
        """Give an editor and its label the look and the tooltip of a faulty value, or take them away."""
        editor = self.editors[key.name]
        if (editor.property("fault") or "") == fault:
            return
        editor.setProperty("fault", fault)
        editor.setStyleSheet("border: 1px solid #d9534f;" if fault else "")
        label.setText(f"⚠ {key.title}" if fault else key.title)
        for widget in (label, editor):
            widget.setToolTip(f"{fault}\n\n{self._tip(key)}" if fault else self._tip(key))


class GroupEdit(Form):
    """A configuration class inside another one."""

    def __init__(self, key: Key) -> None:
        model = key.models[0]
        super().__init__(model, first=[inner.name for inner in keys_of(model)], inset=INDENT)
        self.setObjectName(key.name)


class UnionEdit(QWidget):
    """One of several tagged classes: a combo box chooses the class, a form shows its keys."""

    changed = Signal()

    def __init__(self, key: Key) -> None:
        super().__init__()
        self._tag = key.tag
        self._models = {tag_of(model, key.tag): model for model in key.models}
        self._forms: dict[str, Form] = {}
        self.choice = Combo(key.name)
        self.choice.set_items([(_words(tag), tag) for tag in self._models])
        for index, model in enumerate(self._models.values()):
            self.choice.setItemData(index, (model.__doc__ or "").strip(), Qt.ItemDataRole.ToolTipRole)
        self.setFocusProxy(self.choice)
        self._pages = QStackedWidget()
        self._pages.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Maximum)
        self._pages.setContentsMargins(INDENT, 0, 0, 0)
        rows = FormRows()
        rows.add_row(key.title, self.choice)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(4)
        layout.addWidget(rows)
        layout.addWidget(self._pages)
        self.choice.changed.connect(self._show)
        self._show()

    def _form(self, tag: str) -> Form:
        """Make the form of a class when it is first needed: docks open faster."""
        if tag not in self._forms:
            model = self._models[tag]
            form = Form(model, first=[key.name for key in keys_of(model)], inset=INDENT)
            form.changed.connect(self.changed)
            self._forms[tag] = form
            self._pages.addWidget(form)
        return self._forms[tag]

    def _show(self) -> None:
        form = self._form(self.choice.value())
        self._pages.setCurrentWidget(form)
        for other in self._forms.values():
            vertical = QSizePolicy.Policy.Maximum if other is form else QSizePolicy.Policy.Ignored
            other.setSizePolicy(QSizePolicy.Policy.Expanding, vertical)
        self._pages.setVisible(bool(form.editors))
        self._pages.adjustSize()
        self.changed.emit()

    def value(self) -> Any:
        """Return the chosen class with its settings."""
        return self._form(self.choice.value()).value()

    def set_value(self, value: Any) -> None:
        """Choose the value's class and show its settings."""
        tag = str(getattr(value, self._tag))
        self._form(tag).set_value(value)
        self.choice.set_value(tag)


def editor_for(key: Key) -> Any:
    """Return a new editor for a key."""
    return _EDITORS[key.shape](key)


_EDITORS: dict[Shape, Any] = {
    Shape.BOOL: BoolEdit,
    Shape.INT: IntEdit,
    Shape.FLOAT: FloatEdit,
    Shape.TEXT: TextEdit,
    Shape.CHOICE: ChoiceEdit,
    Shape.SEQUENCE: SequenceEdit,
    Shape.MAPPING: MappingEdit,
    Shape.LOSSES: LossesEdit,
    Shape.UNION: UnionEdit,
    Shape.GROUP: GroupEdit,
}


def _words(tag: str) -> str:
    return tag.replace("_", " ")
