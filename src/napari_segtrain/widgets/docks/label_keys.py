"""What goes through the regions to label by key or from the command palette.

napari lists the actions under Preferences, Shortcuts, without a key: each user binds those that they like.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from napari import Viewer
from napari.components import ViewerModel
from napari.utils.action_manager import action_manager

from ...config import SegtrainError
from ..forms import notify
from ..layers.label_points import go, mark_done


def next_region(viewer: Viewer) -> None:
    """Go to the next region to label that is not done."""
    _say(viewer, lambda: go(viewer, 1))


def previous_region(viewer: Viewer) -> None:
    """Go back to the region to label before that is not done."""
    _say(viewer, lambda: go(viewer, -1))


def region_done(viewer: Viewer) -> None:
    """Mark the region to label that was gone to as done, or as not done."""
    _say(viewer, lambda: mark_done(viewer))


def _say(viewer: Viewer, work: Callable[[], str]) -> None:
    try:
        words = work()
    except SegtrainError as error:
        notify.warning(str(error))
    else:
        viewer.status = words


def offer_keys() -> None:
    """Let keys be bound to the actions; none is until a user does it."""
    commands: tuple[Callable[[Any], None], ...] = (next_region, previous_region, region_done)
    for command in commands:
        summary = str(command.__doc__).strip().removesuffix(".")
        action_manager.register_action(
            f"napari-segtrain:{command.__name__}", command, f"Segtrain: {summary}", ViewerModel
        )
