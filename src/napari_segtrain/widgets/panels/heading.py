"""The head of a dock: its title, what belongs to all of it, and its help."""

from __future__ import annotations

from qtpy.QtWidgets import QHBoxLayout, QLabel, QPushButton, QWidget

from .help_window import HelpWindow

PAGE = "docks.md"
"""The page of the documentation that has a section for each dock, under the dock's own name."""


class Heading(QWidget):
    """A title, buttons, and a button that opens the dock's section of the documentation.

    Parameters
    ----------
    title
        The title.
    section
        Heading in `PAGE`.
    buttons
        Buttons between them.
    """

    def __init__(self, title: str, section: str, *buttons: QPushButton) -> None:
        super().__init__()
        self.section = section
        label = QLabel(title)
        label.setObjectName("title")
        self.help = QPushButton("Help")
        self.help.setObjectName("help")
        self.help.setToolTip(f"What the {section} dock does, and how; needs no network")
        self.help.clicked.connect(lambda _=False: self.open_help())
        self._window: HelpWindow | None = None
        row = QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        row.addWidget(label, 1)
        for button in (*buttons, self.help):
            row.addWidget(button)

    def open_help(self) -> HelpWindow:
        """Show the documentation of the dock, and return its window."""
        if self._window is None:
            self._window = HelpWindow(self)
        self._window.open_at(PAGE, self.section)
        return self._window
