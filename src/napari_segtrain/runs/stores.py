"""What a Zarr store of predictions says of itself, without opening it as one."""

from __future__ import annotations

import json
from enum import StrEnum
from pathlib import Path


class StoreState(StrEnum):
    """What lies where a prediction is to be written."""

    ABSENT = "absent"
    UNFINISHED = "unfinished"
    COMPLETE = "complete"
    OTHER = "other"


def store_state(path: Path) -> StoreState:
    """Return whether a store holds a prediction, and whether it is finished; reads one small file."""
    if not path.exists() or (path.is_dir() and not any(path.iterdir())):
        return StoreState.ABSENT
    for name, key in (("zarr.json", "attributes"), (".zattrs", None)):
        try:
            found = json.loads((path / name).read_text())
            said = (found[key] if key else found)["segtrain"]
            return StoreState.COMPLETE if said["complete"] else StoreState.UNFINISHED
        except (OSError, ValueError, KeyError, TypeError):
            continue
    return StoreState.OTHER
