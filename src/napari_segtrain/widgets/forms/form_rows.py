"""Rows of a label and an editor, as every form of a dock has them."""

from __future__ import annotations

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QFormLayout, QLabel, QWidget

LABELS = 134
"""Width of the labels in pixels, in all forms, so that the editors of a dock stand in one column."""
INDENT = 12
"""Pixels by which a form inside a form is moved in."""


class FormRows(QWidget):
    """Labels on the left, editors on the right.

    Parameters
    ----------
    inset
        Pixels by which the rows stand further right than those they shall be in line with.
    """

    def __init__(self, inset: int = 0) -> None:
        super().__init__()
        self._width = LABELS - inset
        self._rows = QFormLayout(self)
        self._rows.setContentsMargins(0, 0, 0, 0)
        self._rows.setHorizontalSpacing(8)
        self._rows.setVerticalSpacing(4)
        self._rows.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow)
        self._rows.setLabelAlignment(Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter)

    def add_row(self, title: str, editor: QWidget) -> QLabel:
        """Add an editor, with a label that shows the editor's tooltip and leads to it."""
        label = QLabel(title)
        label.setMinimumWidth(self._width)
        label.setToolTip(editor.toolTip())
        label.setBuddy(editor)
        editor.setAccessibleName(title)
        self._rows.addRow(label, editor)
        return label

    def add(self, widget: QWidget) -> None:
        """Add a widget over the whole width."""
        self._rows.addRow(widget)

    def show_row(self, editor: QWidget, shown: bool) -> None:
        """Show or hide an editor together with its label."""
        for widget in (self._rows.labelForField(editor), editor):
            widget.setVisible(shown)
