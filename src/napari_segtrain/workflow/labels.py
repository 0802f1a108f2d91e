"""The labels that a run was trained on, brought back as files."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from napari_segtrain.config import RunError
from napari_segtrain.runs import explain_os_error, find_run, load_checkpoint
from napari_segtrain.runs.label_store import LabelStore, StoredArray

_CHECKPOINTS = (".ckpt", ".pth")
_UNUSABLE = re.compile(r'[/\\:*?"<>|\s]+')
_STACK_AXES = "tpqruvw"


def restore_labels(
    run_or_checkpoint: str | Path, output: str | Path, *, epoch: int | None = None
) -> list[Path]:
    """Write the labels that a run was trained on, as they were then.

    Parameters
    ----------
    run_or_checkpoint
        A checkpoint, for the labels as they were when it was written, or a run.
    output
        New folder: it gets ``labels/<image>_<target>.zarr`` and ``masks/…``, OME-Zarr with the spacing of
        the image, as a folder to train on has them.
    epoch
        Of a run: the labels as they were at the end of this epoch; by default the newest.

    Returns
    -------
    list of Path
        The stores.

    Raises
    ------
    RunError
        When the run kept no labels, not of this epoch, or they are damaged; when `output` is not empty or
        cannot be written.
    """
    path = Path(run_or_checkpoint)
    run = find_run(path)
    store = LabelStore(run.path)
    if path.suffix in _CHECKPOINTS and path.is_file():
        if epoch is not None:
            raise RunError(
                f"{path}: is the checkpoint of one epoch; give the run to choose another (--epoch)"
            )
        state = load_checkpoint(path, required=("model",)).get("labels")
        if state is None:
            raise RunError(
                f"{path}: does not say on which labels it was trained; tr_config.keep_labels was false, they "
                "were too large, or it is of an earlier version"
            )
    else:
        state = store.state_of(epoch)
    folder = Path(output)
    try:
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise RunError(f"{folder}: exists; choose a new folder, nothing is overwritten")
        folder.mkdir(parents=True, exist_ok=True)
        return [_write(store, group, folder) for group in _groups(store.arrays(state))]
    except OSError as error:
        raise RunError(f"{folder}: cannot be written ({explain_os_error(error)})") from error


def _groups(arrays: Sequence[StoredArray]) -> list[list[StoredArray]]:
    """Return the arrays, those of one stack together."""
    found: dict[tuple[str, str, str], list[StoredArray]] = {}
    for array in arrays:
        found.setdefault((array.group if array.stack else array.record, array.kind, array.name), []).append(
            array
        )
    return list(found.values())


def _write(store: LabelStore, arrays: Sequence[StoredArray], folder: Path) -> Path:
    import zarr

    first = arrays[0]
    image = first.group if first.stack else first.record
    name = _UNUSABLE.sub("_", f"{image}_{first.name}" if first.name else image)
    path = folder / first.kind / f"{name}.zarr"
    channels = (first.channels,) if first.channels > 1 else ()
    group = zarr.create_group(
        path, attributes={"ome": {"version": "0.5", "multiscales": [_multiscale(first)]}}
    )
    target = group.create_array(
        "0",
        shape=(*first.stack, *channels, *first.shape),
        chunks=(*(1 for _ in first.stack), *channels, *first.block),
        dtype=first.dtype,
        dimension_names=_axes(first),
    )
    for array in arrays:
        for place, values in store.read(array):
            here = (*array.position, *(slice(None) for _ in channels), *place)
            target[here] = values if channels else values[0]
    return path


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
