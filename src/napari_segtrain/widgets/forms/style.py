"""How the docks look, in the colours of napari's theme, light or dark; and their defaults."""

from __future__ import annotations

from pathlib import Path

from qtpy.QtGui import QColor, QPalette
from qtpy.QtWidgets import QWidget

DEFAULT_PROJECT = Path.home() / "napari-segtrain"
"""Where runs go when the user says nothing."""

MID = "#808080"
"""A grey for lines and arrows: of three times the luminance of a dark theme, and a third of a light one's."""

_FIXED = """
QLabel#title { font-size: 13px; font-weight: 600; }
QFrame#card, QGraphicsView#graph, QPlainTextEdit {
  border: 1px solid rgba(128, 128, 128, 90); border-radius: 4px;
}
QFrame#card QLineEdit#name { font-weight: 600; }
QPushButton#start, QPushButton#predict { font-weight: 600; }
QPushButton#start, QPushButton#wait, QPushButton#predict { min-height: 26px; }
"""
_FOCUSED = ", ".join(
    f"{kind}:focus"
    for kind in (
        "QPushButton", "QToolButton", "QComboBox", "QCheckBox", "QLineEdit", "QAbstractSpinBox", "QSlider",
        "QTableView", "QListView", "QTextBrowser", "QPlainTextEdit", "QGraphicsView",
    )
)  # fmt: skip
_SECOND = 0.82
"""Share of the text's colour in text that stands for nothing typed; the rest is the field's."""


def theme_colours(theme: str) -> tuple[QColor, QColor]:
    """Return the colours of text and background of one of napari's themes."""
    from napari.utils.theme import get_theme

    found = get_theme(theme)
    return QColor(*found.text.as_rgb_tuple()[:3]), QColor(*found.background.as_rgb_tuple()[:3])


def restyle(widget: QWidget, colours: tuple[QColor, QColor] | None = None) -> None:
    """Give a widget and what is in it the look of a dock.

    napari's own style shows nowhere which control has the keyboard; here a frame does.

    Parameters
    ----------
    widget
        The dock.
    colours
        Of text and background; None for those that the widget has now.
    """
    palette = widget.palette()
    text, field = colours or (
        palette.color(QPalette.ColorRole.WindowText),
        palette.color(QPalette.ColorRole.Window),
    )
    wanted = (
        f"{_FIXED}{_FOCUSED} {{ border: 1px solid {text.name()}; }}\n"
        f"QLineEdit, QPlainTextEdit {{ placeholder-text-color: {_mixed(text, field).name()}; }}\n"
    )
    if widget.styleSheet() != wanted:  # setting it is a change of style, too
        widget.setStyleSheet(wanted)


def _mixed(text: QColor, field: QColor) -> QColor:
    return QColor(
        *(
            round(_SECOND * a + (1 - _SECOND) * b)
            for a, b in zip(text.getRgb()[:3], field.getRgb()[:3], strict=True)
        )
    )
