"""What was scored of a run: when, with which weights, on how much of the data."""

from __future__ import annotations

from typing import Any

from napari_segtrain.config import RunError
from napari_segtrain.runs import RunFolder, read_json

INDEX = "index.json"
"""The file in a run's ``evaluation`` that says it, by part of the split."""


def read_index(run: RunFolder) -> dict[str, Any]:
    """Return what was scored, by part; nothing when that is not known."""
    return read_part(run, INDEX)


def read_part(run: RunFolder, name: str) -> dict[str, Any]:
    """Return a file of a run's ``evaluation``; nothing when it is not there or damaged."""
    try:
        found = read_json(run.evaluation / name)
    except RunError:
        return {}
    return found if isinstance(found, dict) else {}
