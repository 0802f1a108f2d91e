"""A data folder that is trained on instead of open layers: chosen, shown as a table, opened as layers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from numpy.typing import NDArray
from qtpy.compat import isalive
from qtpy.QtCore import QTimer, Signal
from qtpy.QtWidgets import (
    QAbstractItemView,
    QFileDialog,
    QHBoxLayout,
    QHeaderView,
    QLabel,
    QPushButton,
    QSizePolicy,
    QTableWidget,
    QTableWidgetItem,
    QVBoxLayout,
    QWidget,
)

from ...config import DatasetConfig
from ...data.folder_facts import FolderFacts, describe_folder, read_image, read_painted
from ...data.records import Record
from ..sessions.followers import perform

_REST = 300
"""Milliseconds that settings must rest before the folder is looked at again."""
_WAIT = "Looking at the folder …"
_OPEN = (
    "Open the chosen image with its labels: previews are shown on it, and what you paint on them is trained "
    "on in the place of its files, which stay as they are"
)
_ROWS = 5
"""Images that are seen at once; more scroll."""


@dataclass(frozen=True, eq=False)
class OpenedImage:
    """An image of the folder in memory.

    Attributes
    ----------
    image
        Its array.
    axes
        A letter an axis of it.
    painted
        Its labels and masks, by what their layers are called after the image's name.
    record
        The first of its records.
    """

    image: NDArray[Any]
    axes: str
    painted: dict[str, NDArray[Any]]
    record: Record

    @classmethod
    def read(cls, records: list[Record]) -> OpenedImage:
        """Read it whole; errors as `read_image` and `read_painted`."""
        return cls(*read_image(records), read_painted(records), records[0])


class DataFolder(QWidget):
    """Shows which folder is trained on and what it holds; a worker thread reads the headers.

    Parameters
    ----------
    config
        Returns how its files are read.
    """

    changed = Signal()
    """Another folder, or none; or what it holds is known now."""
    opened = Signal(str, object)
    """The name of an image to look at, and the `OpenedImage`."""
    refused = Signal(str)
    """Why an image cannot be looked at."""

    def __init__(self, config: Callable[[], DatasetConfig]) -> None:
        super().__init__()
        self._config = config
        self._folder: Path | None = None
        self.facts: FolderFacts | None = None
        self._worker: Any = None
        self._timer = QTimer(self)
        self._timer.setSingleShot(True)
        self._timer.setInterval(_REST)
        self._timer.timeout.connect(self._look)
        self.label, self.words = QLabel(), QLabel()
        self.label.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Preferred)
        self.words.setObjectName("folder_words")
        self.words.setWordWrap(True)
        self.choose = _button("use_folder", "A folder…", "Train on a folder with images/ and labels/")
        self.button = _button("use_layers", "Use layers", "Train on open layers instead of this folder")
        self.look = _button("open_image", "Open image", _OPEN)
        self.table = _table()
        self._lay_out()
        self.choose.clicked.connect(self._browse)
        self.button.clicked.connect(lambda _=False: self.set_value(None))
        self.look.clicked.connect(self._open)
        self._show()

    def _lay_out(self) -> None:
        head = QHBoxLayout()
        head.addWidget(self.label, 1)
        for button in (self.look, self.choose, self.button):
            head.addWidget(button)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(4)
        layout.addLayout(head)
        layout.addWidget(self.table)
        layout.addWidget(self.words)

    def value(self) -> Path | None:
        """Return the folder, None where layers are trained on."""
        return self._folder

    def set_value(self, folder: Path | None) -> None:
        """Hold on to a folder, or let go of it."""
        self._folder, self.facts = folder, None
        self._show()
        self.changed.emit()
        self.refresh()

    def refresh(self) -> None:
        """Look at the folder again, soon: its files are read in another way."""
        if self._folder is not None:
            self._timer.start()

    def _show(self) -> None:
        folder, facts = self._folder, self.facts
        held = folder is not None
        for widget in (self.button, self.table, self.look):
            widget.setVisible(held)
        self.choose.setVisible(not held)
        if folder is None:
            self.label.setText("Open layers, or")
            self.label.setToolTip("What is trained on")
        else:
            # The end of a path says more than its beginning, and the dock is narrow.
            short = str(folder) if len(folder.parts) < 4 else f"…/{Path(*folder.parts[-2:])}"
            self.label.setText(f"Folder {short}")
            self.label.setToolTip(f"Trained on: {folder}")
        self._fill({} if facts is None else facts.images)
        faults = () if facts is None else facts.faults
        self._say(_WAIT if held and facts is None else "\n".join(f"⚠ {fault}" for fault in faults))

    def _say(self, words: str) -> None:
        self.words.setText(words)
        self.words.setVisible(bool(words))

    def _fill(self, images: dict[str, list[Record]]) -> None:
        self.table.setRowCount(len(images))
        for row, (name, records) in enumerate(images.items()):
            texts = _described(name, records), _names(records, "labels"), _names(records, "masks")
            for column, text in enumerate(texts):
                item = QTableWidgetItem(text)
                item.setToolTip(text)
                self.table.setItem(row, column, item)
        header, rows = self.table.horizontalHeader(), self.table.verticalHeader()
        shown = min(len(images), _ROWS) * rows.defaultSectionSize()
        self.table.setFixedHeight(header.sizeHint().height() + 4 + shown)
        self.look.setEnabled(bool(images))

    def _browse(self) -> None:
        chosen = QFileDialog.getExistingDirectory(self, "Choose a data folder", str(Path.home()))
        if chosen:
            self.set_value(Path(chosen))

    def _look(self) -> None:
        folder, config = self._folder, self._config()
        if folder is None:
            return
        worker = perform(lambda: describe_folder(folder, config))
        worker.returned.connect(lambda found: self._on_looked(worker, *found))
        self._worker = worker
        worker.start()

    def _on_looked(self, worker: Any, facts: FolderFacts | None, fault: str) -> None:
        if not isalive(self) or worker is not self._worker or self._folder is None:
            return
        self.facts = facts
        self._show()
        if facts is None:
            self._say(f"⚠ {fault}")
        self.changed.emit()

    def _open(self) -> None:
        if self.facts is None or not self.facts.images:
            return
        name, records = list(self.facts.images.items())[max(0, self.table.currentRow())]
        self.look.setEnabled(False)
        worker = perform(lambda: OpenedImage.read(records))
        worker.returned.connect(lambda found: self._on_opened(name, *found))
        worker.start()

    def _on_opened(self, name: str, found: OpenedImage | None, fault: str) -> None:
        if not isalive(self):
            return
        self.look.setEnabled(True)
        if found is None:
            self.refused.emit(fault)
        else:
            self.opened.emit(name, found)


def _button(name: str, text: str, tip: str) -> QPushButton:
    button = QPushButton(text)
    button.setObjectName(name)
    button.setToolTip(tip)
    return button


def _table() -> QTableWidget:
    table = QTableWidget(0, 3)
    table.setObjectName("folder_images")
    table.setAccessibleName("Images of the folder")
    table.setToolTip("The images of the folder, with the labels and the masks that were found for each")
    table.setHorizontalHeaderLabels(["Image", "Labels", "Masks"])
    table.horizontalHeader().setSectionResizeMode(QHeaderView.ResizeMode.Stretch)
    table.verticalHeader().hide()
    table.verticalHeader().setDefaultSectionSize(22)
    table.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
    table.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
    table.setSelectionMode(QAbstractItemView.SelectionMode.SingleSelection)
    table.setTabKeyNavigation(False)
    return table


def _described(name: str, records: list[Record]) -> str:
    """Return such as ``cells · 3 × 64 × 80 · 2 channels``."""
    image = records[0].image
    shape = " × ".join(map(str, image.shape))
    parts = [name, f"{len(records)} of {shape}" if len(records) > 1 else shape]
    return " · ".join([*parts, f"{image.channels} channels"] if image.channels > 1 else parts)


def _names(records: list[Record], kind: str) -> str:
    return ", ".join(sorted({name for record in records for name in getattr(record, kind)})) or "–"
