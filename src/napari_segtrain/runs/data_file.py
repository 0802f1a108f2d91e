"""`data.json`: where the data of a run is; and the copies of layers that live as long as it needs them."""

from __future__ import annotations

import shutil
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

from napari_segtrain.config import RunError

from .atomic import explain_os_error
from .folder import COPIES, RunFolder

_NAME = "data.json"
_STORED = ("memmap", "zarr", "file")


def write_data(run: RunFolder, data: Any) -> None:
    """Note where a run's data is.

    Arrays that a viewer shares through `Scratch.create` vanish with it. The run gets the same files under
    names of its own (hard links, which cost no space), so that strokes still reach them, and so that it
    can go on when the viewer is gone. They are deleted when the run is completed.

    Parameters
    ----------
    run
        The run.
    data
        A folder, or ``{"layers": [{"image": spec, "labels": {target: spec}, …}]}``, to which ``"folder"`` may
        add one; plain values for JSON.

    Raises
    ------
    RunError
        When the disk is full or not writable.
    """
    from .scratch import is_shared  # needs NumPy, which a list of runs can do without

    copies = run.scratch / f"{COPIES}-{uuid.uuid4().hex[:8]}"
    old = list(run.scratch.glob(f"{COPIES}-*"))

    def kept(path: str) -> str:
        if not is_shared(path, run.project) and not _is_copy(Path(path)):
            return str(Path(path).resolve())
        copy = copies / Path(path).name
        if not copy.exists():
            _link(Path(path), copy)
        return copy.relative_to(run.path).as_posix()

    run.write_json(_NAME, _with_paths(data, kept))
    for folder in old:
        shutil.rmtree(folder, ignore_errors=True)


def known_data(run: RunFolder) -> Any:
    """Return where a run's data is; None when that is no longer known.

    Raises
    ------
    RunError
        When the run's `data.json` is damaged.
    """
    if not (run.path / _NAME).is_file():
        return None
    run.read_json(_NAME)
    try:
        return read_data(run)
    except RunError:
        return None


def noted_data(run: RunFolder) -> Any:
    """Return where a run's data was, whether it is still there or not; errors as `read_data`."""
    return _with_paths(_noted(run), lambda path: str(run.path / path))


def _is_copy(path: Path) -> bool:
    """Return whether a file is the copy of a layer that some run holds."""
    return path.parent.name.startswith(f"{COPIES}-") and path.parent.parent.name == "scratch"


def read_data(run: RunFolder) -> Any:
    """Return where a run's data is, as it was given to `write_data`.

    Raises
    ------
    RunError
        When the run was trained on something that no file names, or that is no longer there.
    """

    def found(path: str) -> str:
        if not Path(path).is_absolute() and not (run.path / path).is_file():
            raise RunError(
                f"{run.path}: was trained on layers of a viewer, and its copies of them are gone: a run has "
                "them only until it is completed. Say where the data is (--input DATA)"
            )
        return str(run.path / path)

    return _with_paths(_noted(run), found)


def _noted(run: RunFolder) -> Any:
    if not (run.path / _NAME).is_file():
        raise RunError(
            f"{run.path}: was trained on data that no file names; say where the data is (--input DATA)"
        )
    return run.read_json(_NAME)


def _with_paths(data: Any, change: Callable[[str], str]) -> Any:
    """Return a description of data with the path of every stored array changed; addresses stay."""
    if isinstance(data, list):
        return [_with_paths(item, change) for item in data]
    if not isinstance(data, dict):
        return data
    new = {key: _with_paths(value, change) for key, value in data.items()}
    if data.get("kind") in _STORED and "://" not in str(data.get("path", "://")):
        new["path"] = change(str(data["path"]))
    return new


def _link(path: Path, copy: Path) -> None:
    try:
        copy.parent.mkdir(parents=True, exist_ok=True)
        try:
            copy.hardlink_to(path)
        except OSError:  # some file systems have no links; strokes of later then do not reach the copy
            shutil.copyfile(path, copy)
    except OSError as error:
        raise RunError(
            f"{copy}: cannot be written ({explain_os_error(error)}); free some space on this disk or choose "
            "another project folder"
        ) from error
