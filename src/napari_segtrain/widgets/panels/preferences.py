"""What a new dock begins with, as the user has set it in napari's Preferences."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..forms.style import DEFAULT_PROJECT

_PLUGIN = "napari-segtrain"


@dataclass(frozen=True)
class Preferences:
    """The settings of the plugin; `napari.yaml` has their words, napari keeps them.

    Attributes
    ----------
    project
        Folder that holds the runs.
    device
        Where to compute, as `tr_setup.device` has it.
    keep_labels
        Whether new runs keep their labels, as `tr_config.keep_labels` has it.
    """

    project: Path = DEFAULT_PROJECT
    device: str = "auto"
    keep_labels: bool = True


def preferences() -> Preferences:
    """Return the settings of the plugin; the defaults where napari keeps none of plugins (before 0.9)."""
    stored = _stored()
    if stored is None:
        return Preferences()
    project = str(stored.project).strip()
    return Preferences(
        project=Path(project).expanduser() if project else DEFAULT_PROJECT,
        device=str(stored.device).strip() or "auto",
        keep_labels=bool(stored.keep_labels),
    )


def _stored() -> Any:
    try:
        from napari.settings import get_plugin_settings

        return get_plugin_settings(_PLUGIN).docks
    except (ImportError, KeyError):  # an older napari; a plugin that is not installed, but imported
        return None
