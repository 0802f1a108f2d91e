"""The data folder that is trained on instead of open layers, after a run that was."""

from __future__ import annotations

from pathlib import Path

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QHBoxLayout, QLabel, QPushButton, QSizePolicy, QWidget


class HeldFolder(QWidget):
    """Shows a folder, and a button that goes back to layers; hidden while there is none."""

    changed = Signal()

    def __init__(self) -> None:
        super().__init__()
        self._folder: Path | None = None
        self.label = QLabel()
        self.label.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Preferred)
        self.button = QPushButton("Use layers")
        self.button.setObjectName("use_layers")
        self.button.setToolTip("Train on open layers instead of this folder")
        self.button.clicked.connect(lambda _=False: self.set_value(None))
        layout = QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(6)
        layout.addWidget(self.label, 1)
        layout.addWidget(self.button)
        self.hide()

    def value(self) -> Path | None:
        """Return the folder, None where layers are trained on."""
        return self._folder

    def set_value(self, folder: Path | None) -> None:
        """Hold on to a folder, or let go of it."""
        self._folder = folder
        self.setVisible(folder is not None)
        if folder is not None:
            # The end of a path says more than its beginning, and the dock is narrow.
            self.label.setText(
                "Folder " + (str(folder) if len(folder.parts) < 4 else f"…/{Path(*folder.parts[-2:])}")
            )
            self.label.setToolTip(f"Trained on: {folder}")
        self.changed.emit()
