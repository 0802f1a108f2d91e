"""The newest debug picture of a training: a button that opens it in a window, which follows the training."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from qtpy.compat import isalive
from qtpy.QtCore import QBuffer, QIODevice, QSignalBlocker, QSize, Qt, Signal
from qtpy.QtGui import QMovie, QPixmap
from qtpy.QtWidgets import (
    QDialog,
    QHBoxLayout,
    QLabel,
    QPushButton,
    QScrollArea,
    QSlider,
    QVBoxLayout,
    QWidget,
)

from ...runs import DebugPicture
from ..forms import notify
from ..sessions.followers import perform

_PLAY, _PAUSE = "Play", "Pause"


@dataclass(frozen=True)
class _Found:
    """What a worker found: epoch and file of each picture, the one to show, and its bytes where new."""

    kept: list[tuple[int, Path]]
    shown: tuple[int, Path]
    data: bytes | None


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
        self._window.show_picture(self._path, opening=True)


class DebugWindow(QDialog):
    """Shows a picture, or an animation of planes, as large as it is; sliders go through planes and epochs."""

    def __init__(self, parent: QWidget) -> None:
        super().__init__(parent)
        self.setObjectName("debug_picture")
        self.label = QLabel()
        self.label.setAlignment(Qt.AlignmentFlag.AlignCenter)
        self.label.setAccessibleName("Debug picture")
        self.label.setToolTip("Image, ground truth and prediction of a validation")
        self._area = QScrollArea()
        self._area.setWidget(self.label)
        self._area.setWidgetResizable(True)
        self._area.setAccessibleName("Debug picture, scrolls with the arrow keys")
        self.epoch = _Slider("epoch", "Epoch", "The validations whose pictures were kept")
        self.plane = _Slider("plane", "Plane", "The planes of the volume; stops the animation")
        self.play = QPushButton(_PLAY)
        self.play.setObjectName("play")
        self.play.setCheckable(True)
        self.play.setToolTip("Show one plane after the other")
        self.epoch.moved.connect(self._on_epoch)
        self.plane.moved.connect(self._on_plane)
        self.play.toggled.connect(self._on_play)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 6)
        layout.addWidget(self._area, 1)
        row = QHBoxLayout()
        row.setContentsMargins(8, 0, 8, 0)
        for widget in (self.epoch, self.plane, self.play):
            row.addWidget(widget, 0 if widget is self.play else 1)
        layout.addLayout(row)
        self._worker: Any = None
        self._movie: QMovie | None = None
        self._newest: Path | None = None
        self._shown: Path | None = None
        self._kept: list[tuple[int, Path]] = []

    def show_picture(self, path: Path, *, opening: bool = False) -> None:
        """Show the newest picture of a run, as soon as a worker has read it.

        While the user looks at an earlier one of the same run, that one stays.

        Parameters
        ----------
        path
            The newest picture.
        opening
            Show the window, too.
        """
        stays = path == self._newest and self.isVisible() and self.epoch.value() < len(self._kept) - 1
        wanted, shown = (self._kept[self.epoch.value()] if stays else None), self._shown
        self._ask(lambda: _look(path, wanted, shown), lambda found: self._on_look(path, found, opening))

    def _ask(self, work: Callable[[], Any], show: Callable[[Any], None]) -> None:
        """Have a worker read something, and show it unless something else is asked for meanwhile."""
        worker = perform(work)

        def on_read(ended: tuple[Any, str]) -> None:
            found, fault = ended
            if not isalive(self) or worker is not self._worker:
                return
            if fault:
                notify.warning(f"The debug picture cannot be read: {fault}")
            else:
                show(found)

        self._worker = worker
        worker.returned.connect(on_read)
        worker.start()

    def _on_look(self, newest: Path, found: _Found, opening: bool) -> None:
        self._newest, self._kept = newest, found.kept
        if found.data is not None:
            title = found.shown[1].name if len(found.kept) > 1 else newest.name
            self._show(found.shown[1], title, found.data)
        words = [str(epoch) for epoch, _ in found.kept]
        self.epoch.offer(len(words), found.kept.index(found.shown), words)
        if opening:
            self.show()
            self.raise_()

    def _show(self, path: Path, title: str, data: bytes) -> None:
        self._stop()
        self._shown = path
        self.setWindowTitle(title)
        self.label.setAccessibleDescription(title)
        size = self._show_planes(data) if path.suffix == ".gif" else self._show_plane(data)
        if not self.isVisible():
            room = self.screen().availableSize() * 0.9
            below = self.layout().sizeHint().height() - self._area.sizeHint().height()
            height = size.height() + max(below, 0) + 20
            self.resize(min(size.width() + 20, room.width()), min(height, room.height()))

    def _show_plane(self, data: bytes) -> QSize:
        pixmap = QPixmap()
        pixmap.loadFromData(data)
        self.label.setPixmap(pixmap)
        self._offer_planes(1)
        return pixmap.size()

    def _show_planes(self, data: bytes) -> QSize:
        # Played from memory: the file is replaced at the next validation.
        self._movie = QMovie(self)
        self._movie.setCacheMode(QMovie.CacheMode.CacheAll)  # or it could not go back to a plane
        buffer = QBuffer(self._movie)
        buffer.setData(data)
        buffer.open(QIODevice.OpenModeFlag.ReadOnly)
        self._movie.setDevice(buffer)
        self._movie.jumpToFrame(0)
        size = self._movie.currentPixmap().size()
        self.label.setMovie(self._movie)
        self._offer_planes(self._movie.frameCount())
        self._movie.frameChanged.connect(self.plane.show_place)
        self._movie.start()
        return size

    def _offer_planes(self, count: int) -> None:
        self.plane.offer(count, 0, [f"{number} of {count}" for number in range(1, count + 1)])
        self.play.setVisible(count > 1)
        self.play.setChecked(True)

    def _on_epoch(self, place: int) -> None:
        _, path = self._kept[place]
        self._ask(path.read_bytes, lambda data: self._show(path, path.name, data))

    def _on_plane(self, place: int) -> None:
        self.play.setChecked(False)
        if self._movie is not None:
            self._movie.jumpToFrame(place)

    def _on_play(self, on: bool) -> None:
        self.play.setText(_PAUSE if on else _PLAY)
        if self._movie is not None:
            self._movie.setPaused(not on)

    def _stop(self) -> None:
        if self._movie is not None:
            self._movie.stop()
            self._movie.deleteLater()
            self._movie = None

    def hideEvent(self, event: Any) -> None:
        """Play nothing that nobody sees."""
        self._stop()
        super().hideEvent(event)


class _Slider(QWidget):
    """A slider between two words; hidden where there is nothing to choose."""

    moved = Signal(int)
    """The place that the user went to."""

    def __init__(self, name: str, title: str, tip: str) -> None:
        super().__init__()
        self.slider = QSlider(Qt.Orientation.Horizontal)
        self.slider.setObjectName(name)
        self.slider.setAccessibleName(title)
        self.slider.setToolTip(tip)
        self.slider.setPageStep(1)
        self.word = QLabel()
        row = QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        row.addWidget(QLabel(title))
        row.addWidget(self.slider, 1)
        row.addWidget(self.word)
        self._words: list[str] = []
        self.slider.valueChanged.connect(self._on_value)
        self.value = self.slider.value

    def offer(self, count: int, place: int, words: list[str]) -> None:
        """Let the user choose among so many."""
        self._words = words
        with QSignalBlocker(self.slider):
            self.slider.setRange(0, max(count - 1, 0))
        self.show_place(place)
        self.setVisible(count > 1)

    def show_place(self, place: int) -> None:
        """Show a place that nobody went to."""
        with QSignalBlocker(self.slider):
            self.slider.setValue(place)
        self._write(place)

    def _on_value(self, place: int) -> None:
        self._write(place)
        self.moved.emit(place)

    def _write(self, place: int) -> None:
        self.word.setText(self._words[place] if place < len(self._words) else "")


def _look(newest: Path, wanted: tuple[int, Path] | None, shown: Path | None) -> _Found:
    """Look for the pictures of a run; read the one that is wanted, or else the newest, unless it is shown."""
    kept = _kept(newest)
    if wanted is None or wanted not in kept:
        return _Found(kept, kept[-1], newest.read_bytes())
    return _Found(kept, wanted, None if wanted[1] == shown else wanted[1].read_bytes())


def _kept(newest: Path) -> list[tuple[int, Path]]:
    """Return epoch and file of the pictures that were kept beside the newest, oldest first; never empty."""
    pattern = re.compile(rf"{re.escape(newest.stem)}_(\d+){re.escape(newest.suffix)}")
    try:
        names = [path for path in newest.parent.iterdir() if pattern.fullmatch(path.name)]
    except OSError:
        names = []
    kept = sorted((int(path.stem.rpartition("_")[2]), path) for path in names)
    return kept or [(0, newest)]
