"""Whether what is there was made the same way as what is asked for."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from napari_segtrain.config import RunError

_LONG = ("weights", "normalisation", "values of the image")
_MOST = 4


def differences(before: Any, now: Mapping[str, Any]) -> list[str]:
    """Return in words what differs between how an output was made and how it would be made now.

    Parameters
    ----------
    before, now
        What `Job.identity` returned; `before` is whatever was found beside the output.
    """
    if not isinstance(before, Mapping):
        return ["it was written by another version of this program"]
    found = []
    for key in (*now, *(key for key in before if key not in now)):
        if before.get(key) == now.get(key):
            continue
        found.append(
            f"other {key}" if key in _LONG else f"{key} {_text(before.get(key))}, now {_text(now.get(key))}"
        )
    return found


def refusal(path: Path, found: list[str]) -> RunError:
    """Return the error that an output is there already and was made in another way."""
    said = "; ".join(found[:_MOST]) + ("; …" if len(found) > _MOST else "")
    return RunError(
        f"{path}: holds a prediction made in another way ({said}). Give the same settings to go on with it, "
        "choose another output, or replace it (--overwrite, overwrite=True, or the box in the dock)"
    )


def _text(value: Any) -> str:
    if value is None:
        return "not set"
    return ",".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
