"""Which labels a run goes on with, where the open layers hold others than it has kept."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from enum import StrEnum
from functools import partial
from typing import Any

from qtpy.QtWidgets import QMessageBox, QWidget

from ..layers.kept_copies import (
    Compared,
    Differing,
    add_copies,
    compare_copies,
    in_words,
    kept_copies,
    read_copies,
)
from ..layers.reattach import reattach
from ..sessions.run_reader import OpenedRun

Read = Callable[[str, Callable[[], Any], Callable[[Any], None]], None]
"""Says what is done, has a worker do it, and hands on what it returns."""

Then = Callable[[Mapping[str, Any]], None]
"""Takes the layers that are to be trained on, by the names that the run knows."""


class Labels(StrEnum):
    """Whose labels a run shall go on with."""

    KEPT = "kept"
    """Those that it has kept."""
    OPEN = "open"
    """Those of the open layers."""


_BUTTONS = {
    Labels.KEPT: ("Open the kept labels", "kept_labels"),
    Labels.OPEN: ("Use the open layer", "open_labels"),
}


def ask_labels(parent: QWidget, run: str, differing: Sequence[Differing]) -> Labels | None:
    """Let the user say which labels a run goes on with; None when with neither."""
    box = QMessageBox(QMessageBox.Icon.Question, "Resume", f"{run}: {in_words(differing)}.", parent=parent)
    box.setInformativeText(
        "It was not painted on since it was opened here: perhaps it was opened from a file without what was "
        "painted last. The labels that the run has kept can be opened as a new layer, and the run goes on "
        "with that one; or it goes on with the layer as it is, and its own copy is deleted."
    )
    buttons = {}
    for labels, (text, name) in _BUTTONS.items():
        buttons[labels] = box.addButton(text, QMessageBox.ButtonRole.ActionRole)
        buttons[labels].setObjectName(name)
    box.setDefaultButton(box.addButton(QMessageBox.StandardButton.Cancel))
    box.exec()
    pressed = box.clickedButton()
    box.deleteLater()
    return next((labels for labels, button in buttons.items() if button is pressed), None)


class Resuming:
    """Has the open layers of a run compared with what it has kept of them, and asks where they differ.

    Parameters
    ----------
    viewer
        The napari viewer.
    parent
        The dock, over which the question is asked.
    read
        Has a worker do what takes long.
    """

    def __init__(self, viewer: Any, parent: QWidget, read: Read) -> None:
        self._viewer, self._parent, self._read = viewer, parent, read

    def settle(self, opened: OpenedRun, then: Then, refused: Callable[[str], None]) -> None:
        """Find the layers to go on with.

        Parameters
        ----------
        opened
            The run.
        then
            Called with them, on the main thread.
        refused
            Called with a sentence when the user wants neither.
        """
        layers = list(self._viewer.layers)
        copies = kept_copies(opened.data, layers, opened.run)
        open_ones = {copy.name: copy.candidates[0].layer for copy in copies}
        found = reattach(opened.data, opened.config.dataset_config, layers, instead=open_ones)
        if copies and found.data.spec is not None:  # else it goes on with what it has kept, whatever is open
            words = "Comparing the layers with the labels that the run has kept …"
            done = partial(self._on_compared, opened, then, refused)
            self._read(words, partial(compare_copies, copies), done)
        else:
            then({})

    def _on_compared(
        self, opened: OpenedRun, then: Then, refused: Callable[[str], None], found: Compared
    ) -> None:
        if not found.differing:
            then(found.chosen)
            return
        wanted = ask_labels(self._parent, opened.run.name, found.differing)
        if wanted is Labels.OPEN:
            own = {one.kept.name: one.kept.candidates[0].layer for one in found.differing}
            then({**found.chosen, **own})
        elif wanted is Labels.KEPT:

            def show(values: Sequence[Any]) -> None:
                added = add_copies(self._viewer, found.differing, values, opened.run)
                then({**found.chosen, **added})

            self._read("Opening the kept labels …", partial(read_copies, found.differing), show)
        else:
            refused(f"{opened.run.name} does not go on: {in_words(found.differing)}")
