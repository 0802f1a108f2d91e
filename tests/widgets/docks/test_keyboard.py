"""The docks without a mouse: everything is reached, in the order in which one reads, and can be pressed."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest
from qtpy.QtCore import QCoreApplication, QEvent, QPoint, QRect, Qt
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QAbstractButton, QComboBox, QScrollArea, QWidget

from napari_segtrain.widgets.docks.label_dock import LabelDock
from napari_segtrain.widgets.docks.train_dock import TrainDock
from napari_segtrain.widgets.forms.focus import tab_stops

pytestmark = pytest.mark.gui

Key = Qt.Key


def focus(dock: Any) -> Any:
    return dock.window().focusWidget()


def takes_tab(widget: QWidget) -> bool:
    return bool(widget.focusPolicy() & Qt.FocusPolicy.TabFocus) and widget.focusProxy() is None


def names(widgets: Any) -> list[str]:
    return [f"{type(widget).__name__} {widget.objectName()}" for widget in widgets]


def walk(dock: Any, first: QWidget, key: Any) -> list[QWidget]:
    """Press a key from a control on until the focus leaves the dock; return what was reached."""
    first.setFocus()
    reached = []
    while dock.isAncestorOf(here := focus(dock)):
        assert here not in reached, f"{names([here])} is reached twice"
        assert not here.visibleRegion().isEmpty(), f"{names([here])} is not scrolled to"
        reached.append(here)
        QTest.keyClick(here, key)
    return reached


def place(dock: Any, widget: QWidget) -> tuple[int, QRect]:
    """Return in which part of the dock a control lies, head, body or foot, and where in it."""
    scroll = dock.findChild(QScrollArea, "scroll")
    if scroll.isAncestorOf(widget):
        return 1, QRect(widget.mapTo(scroll.widget(), QPoint()), widget.size())
    at = QRect(widget.mapTo(dock, QPoint()), widget.size())
    return (0 if at.top() < scroll.y() else 2), at


def test_a_dock_without_a_mouse(each_dock: Any, controls: Callable[[Any], Any]) -> None:
    walk_everything(each_dock, list(controls(each_dock)))
    press_everything(each_dock)


def walk_everything(dock: Any, operated: list[QWidget]) -> None:
    """Tab reaches everything once, as one reads, leaves at the end, and Shift+Tab goes the same way back."""
    expected = [
        widget
        for widget in dock.findChildren(QWidget)
        if takes_tab(widget)
        and widget.isVisible()
        and widget.isEnabled()
        and widget.window() is dock.window()
    ]
    first = next(tab_stops(dock))
    there = walk(dock, first, Key.Key_Tab)
    assert sorted(names(set(expected) - set(there))) == [], "not reached"
    assert len(there) == len(expected)
    usable = {widget for widget in operated if widget.isVisible() and widget.isEnabled()}
    assert sorted(names(usable - set(there))) == [], "for the mouse alone"
    for (part, at), (next_part, next_at) in pairwise(place(dock, widget) for widget in there):
        assert next_part >= part
        if next_part == part:
            assert next_at.bottom() > at.top(), "never back up"
            assert next_at.top() > at.bottom() or next_at.right() > at.left(), "never back to the left"
    QTest.keyClick(focus(dock), Key.Key_Backtab)
    assert focus(dock) is there[-1], "the dock is entered at its end"
    assert walk(dock, there[-1], Key.Key_Backtab) == there[::-1]
    QTest.keyClick(focus(dock), Key.Key_Tab)
    assert focus(dock) is there[0], "the dock is entered at its begin"


def press_everything(dock: Any) -> None:
    """Space and Enter press what has the focus, and open lists; Escape closes these."""
    buttons = [stop for stop in tab_stops(dock) if isinstance(stop, QAbstractButton)]
    assert len(buttons) > 4
    pressed: list[QWidget] = []
    for button in buttons:
        for signal in (button.clicked, button.toggled):
            signal.connect(pressed.append)  # there is one at least
            signal.disconnect()  # nothing shall be trained, deleted or browsed for
        button.clicked.connect(lambda *_, button=button: pressed.append(button))
    for button in buttons:
        for key in (Key.Key_Space, Key.Key_Return, Key.Key_Enter):
            pressed.clear()
            button.setFocus()
            QTest.keyClick(button, key)
            assert pressed == [button], names([button])
    combo = next(c for c in tab_stops(dock) if isinstance(c, QComboBox) and c.count() and not c.isEditable())
    chosen = combo.currentIndex()
    for key in (Key.Key_Space, Key.Key_Return):
        combo.setFocus()
        QTest.keyClick(combo, key)
        assert combo.view().isVisible()
        QTest.keyClick(combo.view(), Key.Key_Escape)
        assert not combo.view().isVisible() and combo.currentIndex() == chosen


def test_the_focus_stays_where_a_control_goes_away(full_dock: Callable[[type], Any]) -> None:
    train = full_dock(TrainDock)
    for button, rest in (("remove_loss", "add_loss"), ("remove", "add_target")):
        QCoreApplication.sendPostedEvents(None, QEvent.Type.DeferredDelete)
        removing = train.findChild(QWidget, "targets").findChild(QAbstractButton, button)
        removing.setFocus()
        QTest.keyClick(removing, Key.Key_Return)
        assert focus(train).objectName() == rest


def test_the_focus_goes_from_a_disabled_button_to_the_next(full_dock: Callable[[type], Any]) -> None:
    dock = full_dock(LabelDock)
    dock.panel.buttons["find_regions"].setFocus()
    dock.panel.enable(find_regions=False, cancel=True)
    assert focus(dock) is dock.panel.buttons["cancel"]
