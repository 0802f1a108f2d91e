"""Labels that a run has kept, as OME-Zarr that any program opens."""

from __future__ import annotations

import re
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from napari_segtrain.config import RunError

from .atomic import explain_os_error, read_json, write_json
from .label_store import LabelStore, Place, StoredArray, block_place

if TYPE_CHECKING:
    from numpy.typing import NDArray

NEWEST = "newest"
"""Folder beside the blocks with the labels as they were last, which is a folder to train on."""
_WRITTEN = "newest.json"
_UNUSABLE = re.compile(r'[/\\:*?"<>|\s]+')
_STACK_AXES = "tpqruvw"

Known = Mapping[tuple[str, str, str], StoredArray]


def write_label_files(
    store: LabelStore, arrays: Sequence[StoredArray], folder: Path, before: Sequence[StoredArray] = ()
) -> list[Path]:
    """Write labels and masks as files.

    Parameters
    ----------
    store
        Has the blocks.
    arrays
        What to write.
    folder
        Gets ``labels/<image>_<target>.zarr`` and ``masks/…``, OME-Zarr 0.5 with the spacing of the image.
    before
        What is in the files already: only the blocks that are others are written.

    Returns
    -------
    list of Path
        The files.

    Raises
    ------
    RunError
        When a block is missing or damaged.
    OSError
        When a file cannot be written.
    """
    known = {_key(array): array for array in before}
    written: list[Path] = []
    for group in _groups(arrays):
        written.append(_path(folder, group[0], written))
        _write(store, group, written[-1], known)
    return written


def write_newest(store: LabelStore, arrays: Sequence[StoredArray]) -> None:
    """Bring the files of the newest labels, in `NEWEST`, up to date: what changed is written, nothing else.

    Raises
    ------
    RunError
        When a block is missing or damaged, or the files cannot be written.
    """
    note = store.folder / _WRITTEN
    before = _read(note)
    if before == list(arrays):
        return
    try:
        # Whoever is killed here leaves files of two states: without the note all of them are written again.
        note.unlink(missing_ok=True)
        write_label_files(store, arrays, store.folder / NEWEST, before)
    except OSError as error:
        where = store.folder / NEWEST
        raise RunError(f"{where}: cannot be written ({explain_os_error(error)})") from error
    write_json(note, [array.to_dict() for array in arrays])


def _read(note: Path) -> list[StoredArray]:
    try:
        return [StoredArray.model_validate(entry) for entry in read_json(note)] if note.is_file() else []
    except (RunError, ValidationError, TypeError):
        return []


def _key(array: StoredArray) -> tuple[str, str, str]:
    return array.record, array.kind, array.name


def _frame(array: StoredArray) -> StoredArray:
    return array.replace(blocks={})


def _groups(arrays: Sequence[StoredArray]) -> list[list[StoredArray]]:
    """Return the arrays, those of one stack together."""
    found: dict[tuple[str, str, str], list[StoredArray]] = {}
    for array in arrays:
        found.setdefault((_image(array), array.kind, array.name), []).append(array)
    return list(found.values())


def _image(array: StoredArray) -> str:
    return array.group if array.stack else array.record


def _path(folder: Path, array: StoredArray, taken: Sequence[Path]) -> Path:
    """Return a path that no other array has: characters that files cannot have may make two names one."""
    image = _image(array)
    name = _UNUSABLE.sub("_", f"{image}_{array.name}" if array.name else image)
    path, number = folder / array.kind / f"{name}.zarr", 2
    while path in taken:
        path, number = path.with_name(f"{name}_{number}.zarr"), number + 1
    return path


def _write(store: LabelStore, arrays: Sequence[StoredArray], path: Path, known: Known) -> None:
    import numpy as np

    had = [known.get(_key(array)) for array in arrays]
    same = all(old is not None and _frame(old) == _frame(new) for old, new in zip(had, arrays, strict=True))
    target = _opened(path) if same else None
    if target is None:
        target, had = _made(path, arrays[0]), [None] * len(arrays)
    for array, old in zip(arrays, had, strict=True):
        written = {} if old is None else old.blocks
        for place, values in store.read(_changed(array, written)):
            _put(target, array, place, values)
        for number in written.keys() - array.blocks.keys():
            place = block_place(array.shape, array.block, int(number))
            size = (array.channels, *(side.stop - side.start for side in place))
            _put(target, array, place, np.zeros(size, array.dtype))


def _changed(array: StoredArray, written: Mapping[str, str]) -> StoredArray:
    """Return an array of those blocks alone that are not written yet."""
    return array.replace(blocks={n: name for n, name in array.blocks.items() if written.get(n) != name})


def _put(target: Any, array: StoredArray, place: Place, values: NDArray[Any]) -> None:
    """Write a block of one image, ``(C, *place)``, into the file of its stack."""
    if array.channels > 1:
        target[(*array.position, slice(None), *place)] = values
    else:
        target[(*array.position, *place)] = values[0]


def _opened(path: Path) -> Any:
    """Return the array in a file; None where there is none that can be written to."""
    import zarr
    from zarr.errors import ArrayNotFoundError, GroupNotFoundError

    try:
        return zarr.open_array(path / "0", mode="r+")
    except (ArrayNotFoundError, GroupNotFoundError, FileNotFoundError, ValueError):
        return None


def _made(path: Path, first: StoredArray) -> Any:
    """Make the file of an image, or of a stack; what is at its place goes."""
    import zarr

    if path.is_dir():
        shutil.rmtree(path)
    group = zarr.create_group(
        path, attributes={"ome": {"version": "0.5", "multiscales": [_multiscale(first)]}}
    )
    channels = (first.channels,) if first.channels > 1 else ()
    return group.create_array(
        "0",
        shape=(*first.stack, *channels, *first.shape),
        chunks=(*(1 for _ in first.stack), *channels, *first.block),
        dtype=first.dtype,
        dimension_names=_axes(first),
    )


def _axes(array: StoredArray) -> tuple[str, ...]:
    channel = ("c",) if array.channels > 1 else ()
    return (*_STACK_AXES[: len(array.stack)], *channel, *"zyx"[-len(array.shape) :])


def _multiscale(array: StoredArray) -> dict[str, Any]:
    """Return one entry of OME-NGFF `multiscales`, version 0.5."""
    kinds = {"t": "time", "c": "channel"}
    unit = {} if array.unit == "pixel" else {"unit": array.unit}
    names = _axes(array)
    scale = [*(1.0 for _ in names[: -len(array.shape)]), *array.spacing]
    return {
        "name": array.name,
        "axes": [
            {"name": n, "type": "space", **unit} if n in "zyx" else {"name": n, "type": kinds.get(n, "other")}
            for n in names
        ],
        "datasets": [{"path": "0", "coordinateTransformations": [{"type": "scale", "scale": scale}]}],
    }
