"""The docks for everybody: names that are read aloud, words beside colours, room for all text, contrast."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from qtpy.QtGui import QColor, QPalette
from qtpy.QtWidgets import (
    QAbstractButton,
    QAbstractScrollArea,
    QAbstractSpinBox,
    QComboBox,
    QFormLayout,
    QLabel,
    QLineEdit,
    QProgressBar,
    QPushButton,
    QSlider,
    QWidget,
)

from napari_segtrain.runs import EpochDone, RunStarted
from napari_segtrain.widgets.docks.runs_dock import RunsDock
from napari_segtrain.widgets.docks.train_dock import TrainDock
from napari_segtrain.widgets.forms.form import Form
from napari_segtrain.widgets.forms.style import MID, theme_colours
from napari_segtrain.widgets.layers.layer_choice import LayerCombo
from napari_segtrain.widgets.panels.run_curves import COLOURS, MARKS

pytestmark = pytest.mark.gui

TEXT, SHAPE = 4.5, 3.0
"""Contrast that text and what is drawn need, WCAG 2.2, 1.4.3 and 1.4.11."""


def pictures(dock: QWidget) -> Iterator[QWidget]:
    """Yield what shows something beside texts: sliders, progress, plots, thumbnails."""
    yield from (w for w in dock.findChildren(QWidget) if isinstance(w, QSlider | QProgressBar))
    yield from dock.findChildren(QWidget, "plot")
    yield from (w for w in dock.findChildren(QLabel) if not w.pixmap().isNull())


def where(widget: QWidget) -> str:
    return f"{type(widget).__name__} {widget.objectName()!r}"


def spoken(widget: Any) -> str:
    """Return the name that a screen reader says: the one that was given, else the text of a button."""
    text = str(widget.text()) if isinstance(widget, QAbstractButton) else ""
    named = str(widget.accessibleName()) or (text if any(letter.isalpha() for letter in text) else "")
    return named if any(letter.isalpha() for letter in named) else ""


def labels_of(dock: QWidget) -> Iterator[tuple[QLabel, QWidget]]:
    """Yield the label and the editor of every row of every form."""
    for widget in dock.findChildren(QWidget):
        rows = widget.layout()
        if isinstance(rows, QFormLayout):
            for row in range(rows.rowCount()):
                label = rows.itemAt(row, QFormLayout.ItemRole.LabelRole)
                if label is not None and label.widget().text():
                    yield label.widget(), rows.itemAt(row, QFormLayout.ItemRole.FieldRole).widget()


def test_a_dock_for_everybody(
    viewer: Any, each_dock: Any, controls: Callable[[Any], Any], until: Callable[..., None]
) -> None:
    read_aloud(each_dock, list(controls(each_dock)))
    look_at(viewer, each_dock, until)


def read_aloud(dock: Any, operated: list[QWidget]) -> None:
    """Everything has a name, each label leads to its editor, tooltips are those of the schema."""
    found = [*operated, *pictures(dock)]
    assert [where(widget) for widget in found if not spoken(widget)] == []
    assert [where(w) for w in pictures(dock) if not w.toolTip() and not isinstance(w, QProgressBar)] == []
    rows = list(labels_of(dock))
    assert len(rows) > 1 or isinstance(dock, RunsDock)
    for label, editor in rows:
        assert label.buddy() is editor, label.text()
        assert label.toolTip() == editor.toolTip() or editor.toolTip() == ""
        assert label.text().removeprefix("⚠ ") in editor.accessibleName()
    for form in dock.findChildren(Form):
        for name, key in form._keys.items():
            assert key.description in form.editors[name].toolTip(), name


def luminance(colour: QColor) -> float:
    parts = [channel / 255 for channel in colour.getRgb()[:3]]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
    return float(0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2])


def contrast(one: QColor, other: QColor) -> float:
    low, high = sorted(map(luminance, (one, other)))
    return (high + 0.05) / (low + 0.05)


def written(widget: Any, window: QColor) -> Iterator[tuple[QColor, QColor]]:
    """Yield colours of text, and what is behind it, in a control or a label that is enabled."""
    role, palette = QPalette.ColorRole, widget.palette()
    if isinstance(widget, QLineEdit):
        yield palette.color(role.Text), palette.color(role.Base)
        yield palette.color(role.PlaceholderText), palette.color(role.Base)
    else:
        behind = palette.color(widget.backgroundRole())
        clear = behind.alpha() == 0 or "transparent" in widget.styleSheet()
        yield palette.color(widget.foregroundRole()), window if clear else behind


def cut_off(widget: Any) -> bool:
    """Return whether a text has less room than it needs."""
    if isinstance(widget, QLabel) and widget.wordWrap():
        return bool(widget.heightForWidth(widget.width()) > widget.height())
    if isinstance(widget, QLabel | QAbstractButton) and widget.text():
        return bool(
            widget.sizeHint().width() > widget.width() or widget.sizeHint().height() > widget.height()
        )
    if isinstance(widget, QAbstractSpinBox):
        line = widget.lineEdit()
        return bool(widget.fontMetrics().horizontalAdvance(widget.text()) > line.width())
    if isinstance(widget, QComboBox) and not isinstance(widget, LayerCombo):
        room = widget.style().subControlRect  # names of layers and runs may be longer than any room
        return False if room is None else _combo_cut(widget)
    return False


def _combo_cut(combo: QComboBox) -> bool:
    from qtpy.QtWidgets import QStyle, QStyleOptionComboBox

    option = QStyleOptionComboBox()
    combo.initStyleOption(option)
    part = QStyle.SubControl.SC_ComboBoxEditField
    field = combo.style().subControlRect(QStyle.ComplexControl.CC_ComboBox, option, part, combo)
    return bool(combo.fontMetrics().horizontalAdvance(combo.currentText()) > field.width())


FROM_OUTSIDE = {"run", "resumable", "completed", "metric", "link_from", "link_to"}
"""Combo boxes of names that users give."""


def look_at(viewer: Any, dock: Any, until: Callable[..., None]) -> None:
    """Every text has room and contrast, in both themes, between which the open dock changes."""
    texts = [
        widget
        for widget in dock.findChildren(QWidget)
        if isinstance(widget, QLabel | QAbstractButton | QComboBox | QAbstractSpinBox | QLineEdit)
        and widget.isVisible()
        and widget.window() is dock.window()
    ]
    try:
        for theme in ("light", "dark"):
            viewer.theme = theme
            text, background = theme_colours(theme)
            until(lambda back=background: dock.palette().color(QPalette.ColorRole.Window) == back)
            until(lambda text=text: text.name() in dock.styleSheet())  # the frame around what has the focus
            until(lambda: not [where(w) for w in texts if cut_off(w) and w.objectName() not in FROM_OUTSIDE])
            low = {
                f"{where(widget)} {colour.name()} on {behind.name()}"
                for widget in texts
                if widget.isEnabled()
                for colour, behind in written(widget, background)
                if contrast(colour, behind) < TEXT
            }
            assert low == set()
            for drawn in (MID, *COLOURS):
                assert contrast(QColor(drawn), background) >= SHAPE, drawn
    finally:
        viewer.theme = "dark"
    for area in dock.findChildren(QAbstractScrollArea):
        assert not area.horizontalScrollBar().isVisible(), where(area)


def test_curves_are_told_apart_without_colours(full_dock: Callable[[type], Any], until: Any) -> None:
    dock = full_dock(RunsDock)
    until(lambda: len(dock.curves._lines) == 2)
    looks = {(line.opts["symbol"], line.opts["pen"].style()) for line in dock.curves._lines}
    assert len(looks) == 2
    assert len(set(MARKS)) == len(MARKS) == len(COLOURS)
    assert dock.curves._plot.getPlotItem().legend.items, "the legend says which is which"


def test_training_and_validation_are_told_apart_without_colours(
    full_dock: Callable[[type], Any], until: Any
) -> None:
    dock = full_dock(TrainDock)
    dock.session.happened.emit(RunStarted(run_id="a", name="a", path="/none", num_epochs=2))
    dock.session.happened.emit(EpochDone(epoch=1, num_epochs=2, row={"val_loss": 0.5}))
    until(lambda: dock.curves._lines)
    looks = {(line.opts["symbol"], line.opts["pen"].style()) for line in dock.curves._lines.values()}
    assert len(looks) == 2
    names = {label.text for _, label in dock.curves._plot.getPlotItem().legend.items}
    assert names == {"training", "validation"}


def test_curves_fold_and_leave_their_room_to_the_form(full_dock: Callable[[type], Any], until: Any) -> None:
    dock = full_dock(TrainDock)
    form = dock.findChild(QAbstractScrollArea, "scroll")
    assert form.minimumHeight() >= 160, "a part of it stays in view in a low window"
    dock.session.happened.emit(RunStarted(run_id="a", name="a", path="/none", num_epochs=2))
    until(lambda: dock.curves.isVisible() and dock.curves._plot is not None)
    until(lambda: dock.curves._plot.height() >= 100)
    height = form.height()
    dock.findChild(QPushButton, "fold_curves").click()
    until(lambda: not dock.curves.isVisible() and form.height() > height)
