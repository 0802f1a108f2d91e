"""The documentation beside the docks: the pages that come with the program, read without a network."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from qtpy.QtCore import QEvent, Qt, QUrl
from qtpy.QtGui import QImage, QPalette, QTextCharFormat, QTextCursor, QTextDocument
from qtpy.QtWidgets import QDialog, QHBoxLayout, QLabel, QPushButton, QTextBrowser, QVBoxLayout, QWidget

_SIZE = (680, 620)
_MARGIN = 40


def docs_folder() -> Path:
    """Return the folder of the pages: the package's own, or that of the repository it is run from."""
    packaged = Path(__file__).parents[2] / "docs"
    return packaged if packaged.is_dir() else Path(__file__).parents[4] / "docs"


def slug(heading: str) -> str:
    """Return the anchor of a heading, as web pages of Markdown have it."""
    return re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-")


class HelpWindow(QDialog):
    """Shows a page at a heading; links lead on, and back.

    Parameters
    ----------
    parent
        The widget that it belongs to.
    """

    def __init__(self, parent: QWidget) -> None:
        super().__init__(parent)
        self.setWindowTitle("Segtrain help")
        self.resize(*_SIZE)
        self.said = QLabel()
        self.said.setWordWrap(True)
        self.said.hide()
        self.browser = _Browser(self.said)
        self.back = QPushButton("Back")
        self.back.setObjectName("help_back")
        self.back.setToolTip("Return to the page before")
        self.back.setEnabled(False)
        self.close_button = QPushButton("Close")
        self.close_button.setObjectName("help_close")
        self.close_button.setToolTip("Close this window (Esc)")
        self.back.clicked.connect(self.browser.backward)
        self.browser.backwardAvailable.connect(self.back.setEnabled)
        self.close_button.clicked.connect(self.close)
        row = QHBoxLayout()
        row.addWidget(self.back)
        row.addWidget(self.said, 1)
        row.addStretch()
        row.addWidget(self.close_button)
        layout = QVBoxLayout(self)
        layout.addWidget(self.browser, 1)
        layout.addLayout(row)

    def open_at(self, page: str, heading: str) -> None:
        """Show a page.

        Parameters
        ----------
        page
            File name in the folder of the documentation.
        heading
            Where to begin; an empty text for the top.
        """
        self.show()  # first: where a heading lies depends on the width of the lines
        self.raise_()
        url = QUrl.fromLocalFile(str(docs_folder() / page))
        url.setFragment(slug(heading))
        self.browser.setSource(url)


class _Browser(QTextBrowser):
    """Markdown with its pictures, and links to headings, which Qt has no anchors for."""

    def __init__(self, said: QLabel) -> None:
        super().__init__()
        self.setObjectName("help_page")
        self.setAccessibleName("Help page")
        self.setToolTip("Tab goes from link to link, Enter follows one")
        self.setOpenExternalLinks(True)
        self._said = said

    def doSetSource(self, url: QUrl, kind: Any = QTextDocument.ResourceType.UnknownResource) -> None:
        """Load a page, unless it is not there, and scroll to the heading of the link."""
        url = self.source().resolved(url)
        file = Path(url.toLocalFile()) if url.isLocalFile() else None
        there = file is None or file.is_file()
        self._said.setText("" if there else f"{file} is not part of this installation")
        self._said.setVisible(not there)
        if not there:
            return
        super().doSetSource(url, QTextDocument.ResourceType.MarkdownResource)
        self._colour_links()
        frame = self.document().rootFrame()
        room = frame.frameFormat()
        room.setBottomMargin(self.viewport().height())  # the last heading can be at the top, too
        frame.setFrameFormat(room)
        self._scroll_to(url.fragment())

    def loadResource(self, kind: int, name: QUrl) -> Any:
        """Load a page or a picture, the picture no wider than the page."""
        found = super().loadResource(kind, name)
        if kind == int(QTextDocument.ResourceType.ImageResource.value):
            image = found if isinstance(found, QImage) else QImage.fromData(found)
            widest = self.viewport().width() - _MARGIN
            if image.width() > widest > 0:
                return image.scaledToWidth(widest, Qt.TransformationMode.SmoothTransformation)
        return found

    def changeEvent(self, event: QEvent) -> None:
        """Colour the links anew in another theme."""
        super().changeEvent(event)
        if event.type() == QEvent.Type.StyleChange:
            self._colour_links()

    def _colour_links(self) -> None:
        """Give links the colour of the text, underlined: Qt's blue is not readable in a dark theme."""
        self.ensurePolished()
        look = QTextCharFormat()
        look.setForeground(self.palette().color(QPalette.ColorRole.Text))
        look.setFontUnderline(True)
        cursor = QTextCursor(self.document())
        for block in _blocks(self.document()):
            for span in block.textFormats():
                if span.format.isAnchor():
                    cursor.setPosition(block.position() + span.start)
                    cursor.setPosition(
                        block.position() + span.start + span.length, QTextCursor.MoveMode.KeepAnchor
                    )
                    cursor.mergeCharFormat(look)

    def _scroll_to(self, anchor: str) -> None:
        for block in _blocks(self.document()):
            if anchor and block.blockFormat().headingLevel() and slug(block.text()) == anchor:
                top = self.document().documentLayout().blockBoundingRect(block).top()
                self.verticalScrollBar().setValue(int(top))
                return


def _blocks(document: QTextDocument) -> Iterator[Any]:
    block = document.begin()
    while block.isValid():
        yield block
        block = block.next()
