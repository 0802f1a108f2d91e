"""Where the predictions of a run lie: in its folder, and wherever else they were written."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from pathlib import Path

from napari_segtrain.config import RunError

from .atomic import explain_os_error
from .find import find_run
from .folder import RunFolder
from .info import now

_log = logging.getLogger(__name__)
_FOLDER = "predictions"
_NOTE = "predictions.jsonl"


def note_predictions(model: str | Path, paths: Sequence[Path]) -> None:
    """Let a run remember what was predicted with it outside its own folder; never raises.

    Parameters
    ----------
    model
        Run folder or checkpoint; one that belongs to no run remembers nothing.
    paths
        Files and stores that were written.
    """
    from .scratch import is_shared  # needs NumPy, which a list of runs can do without

    try:
        run = find_run(model)
        own, known = (run.path / _FOLDER).resolve(), set(_noted(run))
        lines = [
            json.dumps({"path": str(path), "time": now().isoformat()}, ensure_ascii=False) + "\n"
            for path in dict.fromkeys(path.resolve() for path in paths)
            if path not in known and path.parent != own and not is_shared(path)
        ]
        if lines:
            with (run.path / _NOTE).open("a", encoding="utf-8") as file:
                file.write("".join(lines))
    except RunError as error:
        _log.debug("%s remembers no predictions: %s", model, error)
    except OSError as error:
        _log.info("%s cannot note its predictions (%s)", model, explain_os_error(error))


def predictions_of(run: RunFolder) -> tuple[Path, ...]:
    """Return the predictions of a run, Zarr stores and TIFF files; those elsewhere may have been moved.

    Returns
    -------
    tuple of Path
        First those in its folder ``predictions``, by name, then those elsewhere, oldest first.
    """
    folder = run.path / _FOLDER
    found = [*folder.glob("*.zarr"), *folder.glob("*.tif")]
    own = sorted(path for path in found if not path.name.startswith("."))
    return (*own, *_noted(run))


def _noted(run: RunFolder) -> tuple[Path, ...]:
    try:
        lines = (run.path / _NOTE).read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError):
        return ()
    return tuple(dict.fromkeys(path for line in lines if (path := _path(line)) is not None))


def _path(line: str) -> Path | None:
    """Return the path in a line, None where it was cut off by a full disk."""
    try:
        return Path(json.loads(line)["path"])
    except (ValueError, KeyError, TypeError):
        return None
