"""Telling the user: one place, so that errors, warnings and news look the same everywhere."""

from __future__ import annotations

from collections.abc import Callable

from ...runs.finding import Severity

Say = Callable[[Severity, str], None]
"""Tells the user a sentence, and how much it matters."""


def error(message: str) -> None:
    """Say that something cannot go on."""
    from napari.utils.notifications import show_error

    show_error(message)


def warning(message: str) -> None:
    """Say that something is not as it should be and the work goes on."""
    from napari.utils.notifications import show_warning

    show_warning(message)


def info(message: str) -> None:
    """Say that something is done."""
    from napari.utils.notifications import show_info

    show_info(message)


def say(severity: Severity, message: str) -> None:
    """Say something of this weight."""
    tell = {"fault": error, "warning": warning, "note": info}[severity]
    tell(message)
