"""The order in which the tabulator walks through a dock: the one in which it is read.

Qt's own order is the one in which controls were made; a row that is added later would come last.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QScrollArea, QWidget


def tab_stops(widget: QWidget) -> Iterator[QWidget]:
    """Yield the controls in a widget that can be used now, in reading order."""
    if not widget.isVisible():
        return
    takes_tab = bool(widget.focusPolicy() & Qt.FocusPolicy.TabFocus)
    if takes_tab and widget.isEnabled() and widget.focusProxy() is None:
        yield widget
    if isinstance(widget, QScrollArea):
        yield from tab_stops(widget.widget())
    elif widget.layout() is not None:
        yield from _stops_within(widget.layout())


def _stops_within(layout: Any) -> Iterator[QWidget]:
    for index in range(layout.count()):
        item = layout.itemAt(index)
        if item.widget() is not None:
            yield from tab_stops(item.widget())
        elif item.layout() is not None:
            yield from _stops_within(item.layout())
