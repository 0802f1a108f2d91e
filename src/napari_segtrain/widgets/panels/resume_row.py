"""Choosing a run that ended before its time, to go on with it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from qtpy.QtWidgets import QHBoxLayout, QPushButton, QWidget

from ..forms.choice_editors import Combo


class ResumeRow(QWidget):
    """The runs of a project that can go on, newest first, and a button."""

    title = "Resume"
    tip = "Go on with this run and its own settings"

    def __init__(self) -> None:
        super().__init__()
        self.choice = Combo("resumable")
        self.choice.setAccessibleName("Run to go on with")
        self.choice.setToolTip("Runs of the project that ended before their time")
        self.button = QPushButton()
        self.button.setObjectName("resume")
        self.wait_for(None)
        layout = QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(4)
        layout.addWidget(self.choice, 1)
        layout.addWidget(self.button)

    def offer(self, runs: Sequence[tuple[str, Path]]) -> None:
        """Offer runs, by description and folder; the newest is chosen when they are others than before."""
        paths = [path for _, path in runs]
        newest = paths[0] if paths and paths != self.choice.offered() else None
        self.choice.set_items(runs, newest)

    def value(self) -> Path | None:
        """Return the folder of the chosen run, None when there is none."""
        chosen: Path | None = self.choice.value()
        return chosen

    def wait_for(self, active: str | None) -> None:
        """Let the button say that it waits for the active run of the project, where there is one."""
        self.button.setText(self.title if active is None else f"{self.title} when it ends")
        waits = f"{self.tip}, as soon as the active run has ended; Stop ends the waiting. {active}"
        self.button.setToolTip(self.tip if active is None else waits)
