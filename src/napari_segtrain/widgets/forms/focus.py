"""The order in which the tabulator walks through a dock: the one in which it is read.

Qt's own order is the one in which controls were made; a row that is added later would come last.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import Any

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QAbstractButton, QComboBox, QScrollArea, QWidget

_MARGIN = 24
"""Pixels that are seen around a control that is scrolled to."""


def reading_order(widget: QWidget) -> Iterator[QWidget]:
    """Yield the controls in a widget that the tabulator can stop at, hidden and disabled ones too."""
    if _takes_tab(widget):
        yield widget
    if isinstance(widget, QScrollArea):
        if widget.widget() is not None:
            yield from reading_order(widget.widget())
    elif widget.layout() is not None:
        yield from _stops_within(widget.layout())


def _takes_tab(control: QWidget) -> bool:
    return bool(control.focusPolicy() & Qt.FocusPolicy.TabFocus) and control.focusProxy() is None


def _stops_within(layout: Any) -> Iterator[QWidget]:
    for index in range(layout.count()):
        item = layout.itemAt(index)
        if item.widget() is not None:
            yield from reading_order(item.widget())
        elif item.layout() is not None:
            yield from _stops_within(item.layout())


def tab_stops(widget: QWidget) -> Iterator[QWidget]:
    """Yield the controls in a widget that can be used now, in reading order."""
    return (control for control in reading_order(widget) if _usable(control))


def _usable(control: QWidget) -> bool:
    return bool(control.isVisible() and control.isEnabled())


def step(widget: QWidget, forward: bool) -> bool:
    """Move the focus to the next control in a widget, or the one before, at its ends out of it.

    A control that has the focus and was disabled or hidden just now keeps its place in the order.

    Returns
    -------
    bool
        Whether the focus was moved; not where nothing in the widget has it that is in the order.
    """
    order, here = list(reading_order(widget)), widget.focusWidget()
    if here not in order:
        return False
    place = order.index(here)
    rest = order[place + 1 :] if forward else order[:place][::-1]
    found = next(filter(_usable, rest), None) or _outside(widget, forward)
    if found is None:  # nothing else is in the window: round and round
        found = next(filter(_usable, order if forward else order[::-1]), here)
    found.setFocus(Qt.FocusReason.TabFocusReason if forward else Qt.FocusReason.BacktabFocusReason)
    _scroll_to(found)
    return True


def _outside(widget: QWidget, forward: bool) -> QWidget | None:
    """Return the control of the window that follows a widget, or the one before it; None without any.

    Qt would find controls in the widget again: it also stops at what only stands for another control.
    """
    chain(widget)
    begin = at = widget.focusWidget()
    while (at := at.nextInFocusChain() if forward else at.previousInFocusChain()) is not begin:
        if at is not widget and not widget.isAncestorOf(at) and _takes_tab(at) and _usable(at):
            return at
    return None


def chain(widget: QWidget) -> None:
    """Tell Qt the reading order: the focus then enters and leaves a widget at its ends, not in between."""
    for first, second in pairwise(reading_order(widget)):
        QWidget.setTabOrder(first, second)


def press(control: QWidget | None) -> bool:
    """Do with the Enter key what the space bar does; return whether there is something to press."""
    if isinstance(control, QAbstractButton):
        control.click()
    elif isinstance(control, QComboBox) and not control.isEditable():
        control.showPopup()
    else:
        return False
    return True


def _scroll_to(control: QWidget) -> None:
    around = control.parentWidget()
    while around is not None:
        if isinstance(around, QScrollArea):
            around.ensureWidgetVisible(control, 0, _MARGIN)
        around = around.parentWidget()
