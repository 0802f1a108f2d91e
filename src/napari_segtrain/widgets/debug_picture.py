"""The newest debug picture of a training: a button that opens it in a window, which follows the training."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from qtpy.QtCore import QBuffer, QIODevice, Qt
from qtpy.QtGui import QMovie, QPixmap
from qtpy.QtWidgets import QDialog, QLabel, QPushButton, QScrollArea, QVBoxLayout, QWidget

from ..runs import DebugPicture
from . import notify


class DebugPictureButton(QPushButton):
    """Hidden until there is a picture; opens the newest one."""

    def __init__(self) -> None:
        super().__init__("Open debug picture")
        self.setObjectName("open_debug_picture")
        self.setToolTip("Image, ground truth and prediction of a validation")
        self.clicked.connect(self.open)
        self._path: Path | None = None
        self._window: DebugWindow | None = None
        self.hide()

    def begin(self) -> None:
        """Wait for the first picture of a run."""
        self._path = None
        self.hide()

    def take(self, event: DebugPicture) -> None:
        """Offer a picture; an open window shows it at once."""
        self._path = Path(event.path)
        self.setToolTip(f"Image, ground truth and prediction of the validation of epoch {event.epoch}")
        self.show()
        if self._window is not None and self._window.isVisible():
            self._window.show_picture(self._path)

    def open(self) -> None:
        """Show the newest picture."""
        if self._path is None:
            return
        if self._window is None:
            self._window = DebugWindow(self)
        if self._window.show_picture(self._path):
            self._window.show()
            self._window.raise_()


class DebugWindow(QDialog):
    """Shows a picture, or an animation, as large as it is."""

    def __init__(self, parent: QWidget) -> None:
        super().__init__(parent)
        self.setObjectName("debug_picture")
        self.label = QLabel()
        self.label.setAlignment(Qt.AlignmentFlag.AlignCenter)
        self._area = QScrollArea()
        self._area.setWidget(self.label)
        self._area.setWidgetResizable(True)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self._area)
        self._movie: QMovie | None = None

    def show_picture(self, path: Path) -> bool:
        """Read and show a file; return whether there was one to read."""
        try:
            data = path.read_bytes()
        except OSError as error:
            notify.warning(f"The debug picture cannot be read: {error}")
            return False
        self._stop()
        self.setWindowTitle(path.name)
        if path.suffix == ".gif":
            # Played from memory: the file is replaced at the next validation.
            self._movie = QMovie(self)
            buffer = QBuffer(self._movie)
            buffer.setData(data)
            buffer.open(QIODevice.OpenModeFlag.ReadOnly)
            self._movie.setDevice(buffer)
            self._movie.jumpToFrame(0)
            size = self._movie.currentPixmap().size()
            self.label.setMovie(self._movie)
            self._movie.start()
        else:
            pixmap = QPixmap()
            pixmap.loadFromData(data)
            size = pixmap.size()
            self.label.setPixmap(pixmap)
        if not self.isVisible():
            room = self.screen().availableSize() * 0.9
            self.resize(min(size.width() + 20, room.width()), min(size.height() + 20, room.height()))
        return True

    def _stop(self) -> None:
        if self._movie is not None:
            self._movie.stop()
            self._movie.deleteLater()
            self._movie = None

    def hideEvent(self, event: Any) -> None:
        """Play nothing that nobody sees."""
        self._stop()
        super().hideEvent(event)
