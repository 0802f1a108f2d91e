"""Keeps the counts of a patch index in a file, so that large labels are read through only once."""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import os
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .cells import Cells
from .fingerprint import content_key
from .index_rules import IndexRules
from .records import Record, Region
from .region_index import RegionIndex

logger = logging.getLogger(__name__)

FORMAT = 1
"""Raised whenever what is counted, or how, changes."""


class IndexCache:
    """Counts by content: what was kept for other labels, masks, regions or rules is never used.

    A cache that cannot be read or written costs time and nothing else; it says so in the log.

    Parameters
    ----------
    folder
        Where the file is; None: nothing is kept.
    patch, stride
        Size of a patch and distance of two positions, in voxels.
    """

    def __init__(self, folder: Path | None, patch: Sequence[int], stride: Sequence[int]) -> None:
        name = "patch_index_" + "x".join(map(str, patch)) + "_" + "x".join(map(str, stride)) + ".npz"
        self._path = folder / name if folder is not None else None
        self._kept: dict[str, dict[str, NDArray[Any]]] = {}
        self._stored = self._read()
        self._contents: dict[Path, str | None] = {}
        self._changed = False

    def key(self, record: Record, region: Region, rules: IndexRules) -> str | None:
        """Return what the counts of a region depend on, as one text; None when it cannot be told."""
        if self._path is None:
            return None
        targets: dict[str, Any] = {}
        for name, target in rules.targets.items():
            if name not in record.labels:
                continue
            sources = [record.labels[name], *([record.masks[name]] if name in record.masks else [])]
            contents = [self._content(source) for source in sources]
            if None in contents:
                return None
            facts = rules.facts.get(name)
            targets[name] = [target.to_dict(), facts.to_dict() if facts else None, contents]
        parts = [FORMAT, region.to_dict(), targets, rules.foreground_only, rules.balance]
        return hashlib.blake2b(json.dumps(parts, sort_keys=True).encode(), digest_size=16).hexdigest()

    def load(self, key: str | None, part: RegionIndex) -> bool:
        """Fill the cells of a region from the file; False when they are not there."""
        if key is None or key not in self._stored:
            return False
        arrays = self._stored[key]
        for target in part.cells:
            part.cells[target] = _unpack(arrays, target)
        self._kept[key] = arrays
        return True

    def keep(self, key: str | None, part: RegionIndex) -> None:
        """Take the cells of a region into the file that `save` will write."""
        if key is None:
            return
        self._kept[key] = {}
        for target, cells in part.cells.items():
            self._kept[key].update(_pack(cells, target))
        self._changed = True

    def save(self) -> None:
        """Write what is kept, if it is new, in one step: readers see the old file or the new one."""
        if self._path is None or not self._changed:
            return
        arrays: dict[str, Any] = {}
        for key, kept in self._kept.items():
            arrays |= {f"{key}|{name}": array for name, array in kept.items()}
        draft = self._path.with_name(f"{self._path.stem}.{os.getpid()}.part")
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with draft.open("wb") as stream:
                np.savez_compressed(stream, **arrays)
            draft.replace(self._path)
        except OSError as error:
            logger.warning("the patch index is not kept for the next time: %s", error)
            with contextlib.suppress(OSError):
                draft.unlink()

    def _read(self) -> dict[str, dict[str, NDArray[Any]]]:
        stored: dict[str, dict[str, NDArray[Any]]] = {}
        if self._path is None or not self._path.exists():
            return stored
        try:
            with self._path.open("rb") as stream, np.load(stream, allow_pickle=False) as file:
                for full in file.files:
                    key, _, name = full.partition("|")
                    stored.setdefault(key, {})[name] = file[full]
        except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
            logger.warning("%s is damaged and will be made anew: %s", self._path, error)
            return {}
        return stored

    def _content(self, source: object) -> str | None:
        path = getattr(source, "path", None)
        if path is None:
            return None
        if path not in self._contents:
            self._contents[path] = content_key(Path(path))
        content = self._contents[path]
        return None if content is None else f"{source!r} {content}"


def _pack(cells: Cells, target: str) -> dict[str, NDArray[Any]]:
    arrays: dict[str, NDArray[Any]] = {
        f"{target}|labelled": cells.labelled,
        f"{target}|foreground": cells.foreground,
        f"{target}|low": cells.low,
        f"{target}|high": cells.high,
    }
    if cells.classes is not None:
        arrays[f"{target}|values"] = np.array(sorted(cells.classes), np.int64)
        for value, counts in cells.classes.items():
            arrays[f"{target}|class {value}"] = counts
    return arrays


def _unpack(arrays: dict[str, NDArray[Any]], target: str) -> Cells:
    values = arrays.get(f"{target}|values")
    classes = None if values is None else {int(v): arrays[f"{target}|class {v}"] for v in values}
    return Cells(
        labelled=arrays[f"{target}|labelled"],
        foreground=arrays[f"{target}|foreground"],
        low=arrays[f"{target}|low"],
        high=arrays[f"{target}|high"],
        classes=classes,
    )
