"""Asks for a file to write."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from qtpy.QtWidgets import QFileDialog, QMessageBox, QWidget


def file_to_write(
    parent: QWidget, title: str, name: str, kinds: str, meant: Callable[[str], Path]
) -> Path | None:
    """Return the file that the user wants to write, None when there is none.

    The dialog has asked whether a file of the name that was typed is replaced; where a suffix is added to it,
    here is asked.

    Parameters
    ----------
    parent
        Has the dialog.
    title
        Its title.
    name
        What is proposed.
    kinds
        Files that are offered, such as ``"Workflows (*.json)"``.
    meant
        Returns the file that is meant by a name, such as `ended`: one without its suffix would not be offered
        when it is to be opened.
    """
    typed, _ = QFileDialog.getSaveFileName(parent, title, name, kinds)
    if not typed:
        return None
    path = meant(typed)
    if path == Path(typed) or not path.exists():
        return path
    buttons = QMessageBox.StandardButton
    asked = f"{path} exists already. Replace it?"
    answer = QMessageBox.question(parent, title, asked, buttons.Yes | buttons.Cancel, buttons.Cancel)
    return path if answer == buttons.Yes else None


def ended(typed: str, *suffixes: str) -> Path:
    """Return a file with the first of these suffixes, unless its name ends with one of them."""
    path = Path(typed)
    return path if path.suffix.lower() in suffixes else Path(f"{typed}{suffixes[0]}")
