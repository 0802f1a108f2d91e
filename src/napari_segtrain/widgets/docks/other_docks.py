"""The docks of one window: finding another one, and opening it where there is none."""

from __future__ import annotations

from typing import Any, TypeVar

from .dock import Dock, frame_of

_Kind = TypeVar("_Kind", bound=Dock)
_PLUGIN = "napari-segtrain"


def find_dock(dock: Dock, kind: type[_Kind]) -> _Kind | None:
    """Return a dock of another kind in the window of a dock, None where there is none."""
    frame = frame_of(dock)
    window = None if frame is None else frame.parentWidget()
    found: list[Any] = [] if window is None else window.findChildren(kind)
    return next((one for one in found if frame_of(one) is not None), None)


def show_dock(dock: Dock, kind: type[_Kind], title: str) -> _Kind:
    """Bring a dock of another kind to the front, and open it first where there is none.

    Parameters
    ----------
    dock
        The dock that asks for it.
    kind
        The other dock's class.
    title
        Its name in the menu of plugins.
    """
    found = find_dock(dock, kind)
    if found is None:
        _, found = dock.viewer.window.add_plugin_dock_widget(_PLUGIN, title)
    frame = frame_of(found)
    if frame is not None:
        frame.show()
        frame.raise_()
    shown: _Kind = found
    return shown
