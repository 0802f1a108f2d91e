"""Sections that fold."""

from __future__ import annotations

from collections.abc import Mapping

from qtpy.QtCore import QPointF, Qt
from qtpy.QtGui import QColor, QIcon, QPainter, QPixmap, QPolygonF
from qtpy.QtWidgets import QVBoxLayout, QWidget
from superqt import QCollapsible

from .style import MID

_ARROW = 20
"""Edge of the arrows' pictures in pixels; they are shown smaller."""

_UNLIMITED = 2**24 - 1
"""Largest height of a widget in Qt."""

_HEADING = """
QPushButton, QPushButton:checked, QPushButton:hover {
  text-align: left; background: transparent; border: none; border-bottom: 1px solid rgba(128, 128, 128, 90);
  border-radius: 0; font-weight: 600; padding: 4px 0;
}
QPushButton:focus { text-decoration: underline; }
"""
_MORE = """
QPushButton, QPushButton:checked, QPushButton:hover {
  text-align: left; background: transparent; border: none; padding: 1px 0;
}
QPushButton:hover, QPushButton:focus { text-decoration: underline; }
"""


def fold(
    title: str,
    content: QWidget,
    *,
    opened: bool = False,
    heading: bool = False,
    indent: int = 0,
    tip: str = "",
) -> QCollapsible:
    """Return a foldable section.

    Parameters
    ----------
    title
        Text of the line that folds it.
    content
        What is shown and hidden.
    opened
        Whether it is shown at first.
    heading
        Whether the line is a heading of the dock, with a rule below it.
    indent
        Pixels by which the content is moved in.
    tip
        Tooltip of the line; by default it says that the line folds.
    """
    section = QCollapsible(title, expandedIcon=_arrow(down=True), collapsedIcon=_arrow(down=False))
    section.setDuration(0)  # superqt's animation would show half-drawn forms
    section.layout().setContentsMargins(0, 0, 0, 0)
    section.layout().setSpacing(2)
    section.content().layout().setContentsMargins(indent, 2, 0, 2)
    button = section.toggleButton()
    button.setObjectName("fold_" + title.lower().replace(" ", "_"))
    button.setToolTip(tip or f"Show or hide: {title}")
    button.setAccessibleName(title)
    button.setStyleSheet(_HEADING if heading else _MORE)
    section.addWidget(content)
    # superqt holds on to the height of one moment, and content that grows meanwhile could not be seen.
    content.removeEventFilter(section)

    def show(shown: bool) -> None:
        # superqt only makes folded content flat: the keyboard would still walk through it.
        section.content().setVisible(shown)
        if shown:
            section.content().setMaximumHeight(_UNLIMITED)

    section.content().setVisible(opened)
    section.toggled.connect(show)
    if opened:
        section.expand(animate=False)
    return section


def sections(contents: Mapping[str, QWidget]) -> QWidget:
    """Return the body of a dock: foldable sections with a heading each, all open, one below the other.

    Parameters
    ----------
    contents
        What the sections hold, by their heading.
    """
    body = QWidget()
    column = QVBoxLayout(body)
    column.setContentsMargins(4, 4, 8, 4)
    column.setSpacing(6)
    for heading, content in contents.items():
        column.addWidget(fold(heading, content, opened=True, heading=True))
    column.addStretch(1)
    return body


def _arrow(*, down: bool) -> QIcon:
    """Draw an arrow in a grey that shows on light and on dark themes."""
    picture = QPixmap(_ARROW, _ARROW)
    picture.fill(Qt.GlobalColor.transparent)
    painter = QPainter(picture)
    painter.setRenderHint(QPainter.RenderHint.Antialiasing)
    painter.setPen(Qt.PenStyle.NoPen)
    painter.setBrush(QColor(MID))
    corners = [(3.0, 6.0), (17.0, 6.0), (10.0, 15.0)] if down else [(6.0, 3.0), (15.0, 10.0), (6.0, 17.0)]
    painter.drawPolygon(QPolygonF([QPointF(x, y) for x, y in corners]))
    painter.end()
    return QIcon(picture)
