"""What napari asks about before it closes its window: work that the closing would end."""

from __future__ import annotations

from typing import Any

_PROVIDER = "Segtrain"


class ClosingNote:
    """An entry in napari's task manager, there while a dock works.

    Parameters
    ----------
    viewer
        The napari viewer; one whose napari has no task manager is closed without a question.
    """

    def __init__(self, viewer: Any) -> None:
        # A plugin's viewer is a proxy that warns of underscores, which napari's own way to tell it has.
        window = getattr(viewer, "__wrapped__", viewer).window
        self._register = getattr(window, "_register_task_status", None)
        self._update = getattr(window, "_update_task_status", None)
        self._entry: Any = None
        self._text = ""

    def show(self, text: str) -> None:
        """Say what works and what closing does to it; an empty text when nothing works any more."""
        if text == self._text or self._register is None or self._update is None:
            return
        from napari.utils.task_status import Status

        if not text:
            self._update(self._entry, Status.COMPLETED)
            self._entry = None
        elif self._entry is None:
            self._entry = self._register(_PROVIDER, Status.BUSY, text)
        else:
            self._update(self._entry, Status.BUSY, text)
        self._text = text
