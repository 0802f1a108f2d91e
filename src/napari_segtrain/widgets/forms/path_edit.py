"""Choosing a folder or a file: a line to type in, and a button that browses."""

from __future__ import annotations

from pathlib import Path

from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import QFileDialog, QHBoxLayout, QLineEdit, QMenu, QPushButton, QWidget


class PathEdit(QWidget):
    """A path; `value` is None when nothing was typed.

    Parameters
    ----------
    name
        `objectName` of the line.
    tip
        Tooltip of the line.
    kind
        ``"folder"`` to choose one that exists or is made, ``"file"`` for one that exists, ``"any"`` for
        either, ``"save"`` for a new store.
    """

    changed = Signal()

    def __init__(self, name: str, tip: str, kind: str = "folder") -> None:
        super().__init__()
        self._kind = kind
        self.line = QLineEdit()
        self.line.setObjectName(name)
        self.line.setToolTip(tip)
        self.browse = QPushButton("…")
        self.browse.setObjectName(f"browse_{name}")
        self.browse.setToolTip("Browse")
        self.browse.setAccessibleName(f"Browse for the {name}")
        self.browse.setMaximumWidth(32)
        layout = QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(4)
        layout.addWidget(self.line, 1)
        layout.addWidget(self.browse)
        self.setFocusProxy(self.line)
        self.setAccessibleName(name)
        self.line.textChanged.connect(lambda _: self.changed.emit())
        self.browse.clicked.connect(self._browse)

    def setAccessibleName(self, name: str) -> None:
        """Name the line: it is what has the focus."""
        super().setAccessibleName(name)
        self.line.setAccessibleName(name)

    def value(self) -> Path | None:
        """Return the path, with ``~`` for the home folder resolved."""
        text = str(self.line.text()).strip()
        return Path(text).expanduser() if text else None

    def set_value(self, value: Path | str | None) -> None:
        """Show a path, the home folder as ``~``."""
        path = None if value is None else Path(value)
        if path is not None and path.is_relative_to(Path.home()):
            path = "~" / path.relative_to(Path.home())
        self.line.setText("" if path is None else str(path))

    def _browse(self) -> None:
        if self._kind != "any":
            self._look_for(self._kind)
            return
        menu = QMenu(self)
        menu.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        for text, kind in (("A folder…", "folder"), ("A file…", "file")):
            menu.addAction(text).triggered.connect(lambda _=False, kind=kind: self._look_for(kind))
        menu.popup(self.browse.mapToGlobal(self.browse.rect().bottomLeft()))

    def _look_for(self, kind: str) -> None:
        start = str(Path(str(self.value() or Path.home())).expanduser())
        if kind == "save":
            chosen, _ = QFileDialog.getSaveFileName(self, "Write to", start, "Zarr (*.zarr)")
        elif kind == "file":
            chosen, _ = QFileDialog.getOpenFileName(self, "Choose a file", start)
        else:
            chosen = QFileDialog.getExistingDirectory(self, "Choose a folder", start)
        if chosen:
            self.set_value(chosen)
