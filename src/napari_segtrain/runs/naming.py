"""Names of runs, from the settings that were changed."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from pathlib import PurePath
from typing import Any

BASE = "base"
_LONGEST = 80
_LABELS = {"batch_size": "batch", "num_epochs": "epochs"}
_FIRST = ("batch", "epochs", "lr")
_WITHOUT = frozenset(
    {"device", "devices", "num_nodes", "strategy", "num_workers", "workers", "run_name", "resume", "project"}
    | {"data", "input", "output", "format"}
    | {"evaluate_after", "evaluate_patches"}
)
_PATH_ENDINGS = ("_path", "_dir", "_folder", "_file")


def run_name(overrides: Mapping[str, Any]) -> str:
    """Return the name of a run in which some settings were changed, such as ``"batch_32_lr_0.01"``.

    Parameters
    ----------
    overrides
        Changed settings by their dotted YAML names (``"tr_config.optimizer.lr"``) or by their flags
        (``"batch-size"``), in any order. Device, workers, paths, the run's own name, and what is
        scored at the end stay out: they change nothing of what is learned.

    Returns
    -------
    str
        Batch size, epochs and learning rate first, then the others by alphabet; ``"base"`` when nothing
        is left. At most 80 characters, all of them allowed in a folder's name.
    """
    keys = {key: key.replace("-", "_").split(".") for key in overrides}
    used = {
        key: parts
        for key, parts in keys.items()
        if parts[-1] not in _WITHOUT
        and not parts[-1].endswith(_PATH_ENDINGS)
        and not isinstance(overrides[key], PurePath)
    }
    often = Counter(parts[-1] for parts in used.values())
    labels = {
        key: _LABELS.get(parts[-1], parts[-1]) if often[parts[-1]] == 1 else "_".join(parts[-2:])
        for key, parts in used.items()
    }
    ordered = sorted(labels, key=lambda key: (_rank(labels[key]), labels[key], key))
    name = "_".join(_clean(f"{labels[key]}_{_text(overrides[key])}") for key in ordered)
    return name[:_LONGEST].strip("._-") or BASE


def _rank(label: str) -> int:
    return _FIRST.index(label) if label in _FIRST else len(_FIRST)


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, Mapping):
        return (
            str(value["name"]) if "name" in value else "-".join(f"{k}-{_text(v)}" for k, v in value.items())
        )
    if isinstance(value, list | tuple):
        return "-".join(_text(item) for item in value)
    return str(value).lower() if value is None else str(value)


def _clean(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9._-]+", "-", text).strip("-")
