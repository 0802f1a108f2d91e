"""Checkpoints: written whole or not at all, and loaded without running code that they hold."""

from __future__ import annotations

import pickle
import re
import zipfile
from collections import OrderedDict
from collections.abc import Collection, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal

from napari_segtrain.config import RunError

from .atomic import atomic_writer, explain_os_error

BEST = "best.ckpt"
LAST = "last.ckpt"
_SUFFIXES = (".ckpt", ".pth")
_EXACT = (bool, int, float, complex, str, bytes)
_SCALARS: tuple[Any, ...] = (int, float, str, bytes)
_CONTAINERS: tuple[Any, ...] = (tuple, list, set, frozenset)


def numbered_name(model_name: str, epoch: int) -> str:
    """Return the name of the checkpoint of one epoch: ``"<model_name>_<epoch>.pth"``."""
    return f"{model_name}_{epoch}.pth"


def checkpoint_path(path: str | Path) -> Path:
    """Return the file that is meant by a name: ``.ckpt`` is added unless it is that of a checkpoint."""
    path = Path(path)
    return path if path.suffix in _SUFFIXES else Path(f"{path}.ckpt")


def save_checkpoint(path: Path, checkpoint: Mapping[str, Any]) -> None:
    """Write a checkpoint that takes the place of `path` only when it is complete on the disk.

    Parameters
    ----------
    path
        File to write; its folder must exist.
    checkpoint
        Tensors, numbers, text and containers of these, by the keys of the file format. Scalars of NumPy
        are stored as numbers, enumerations as text, and special containers as plain ones, so that the
        file can be loaded with ``weights_only=True``.

    Raises
    ------
    RunError
        When the disk is full or the folder not writable; an older file at `path` is kept as it was.
    TypeError
        When a value could not be loaded with ``weights_only=True``; the message has its place.
    """
    import torch

    storable = {key: _storable(value, key) for key, value in checkpoint.items()}
    try:
        with atomic_writer(path) as file:
            torch.save(storable, file)
    except (OSError, RuntimeError) as error:
        cause = _os_error_behind(error)
        if cause is None:
            raise
        raise RunError(
            f"{path}: the checkpoint cannot be written ({explain_os_error(cause)}); an older one is kept. "
            "Free some space on this disk"
        ) from error


def _os_error_behind(error: BaseException) -> OSError | None:
    # torch reports a failed write as a RuntimeError about positions and keeps the cause only as context.
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, OSError):
            return seen
        seen = seen.__cause__ or seen.__context__
    return None


def _storable(value: Any, where: str) -> Any:
    import torch

    if value is None or type(value) in _EXACT or isinstance(value, torch.Tensor | torch.dtype | torch.device):
        return value
    for scalar in _SCALARS:
        if isinstance(value, scalar):
            return scalar(value)
    if isinstance(value, Mapping):
        items = {_storable(key, where): _storable(item, f"{where}.{key}") for key, item in value.items()}
        if not isinstance(value, OrderedDict):
            return items
        ordered = OrderedDict(items)
        # A state dict carries the versions of its modules as an attribute; load_state_dict reads them.
        ordered.__dict__.update(getattr(value, "__dict__", {}))
        return ordered
    if isinstance(value, list | tuple | set | frozenset):
        container = next(kind for kind in _CONTAINERS if isinstance(value, kind))
        return container(_storable(item, f"{where}[{i}]") for i, item in enumerate(value))
    if hasattr(value, "item") and getattr(value, "ndim", None) == 0:
        return value.item()
    raise TypeError(
        f"checkpoint key {where!r} holds a {type(value).__name__}, which cannot be loaded with "
        "weights_only=True; store tensors, numbers, text and containers of these"
    )


def load_checkpoint(
    path: Path,
    *,
    map_location: Any = "cpu",
    required: Collection[str] = ("model", "model_config"),
) -> dict[str, Any]:
    """Load a checkpoint; nothing in the file is executed.

    Parameters
    ----------
    path
        A checkpoint file.
    map_location
        Device for its tensors, as for `torch.load`.
    required
        Keys that must be there.

    Raises
    ------
    RunError
        When the file is missing, is damaged (the message names the next older checkpoint), holds code
        instead of values, or lacks a required key.
    """
    import torch

    _check_container(path)
    try:
        with path.open("rb") as file:
            checkpoint = torch.load(file, map_location=map_location, weights_only=True)
    except pickle.UnpicklingError:
        raise RunError(
            f"{path}: holds Python objects, not only weights and settings. It is refused, because loading "
            "it could run a program hidden in it; use a checkpoint that this program has written"
        ) from None
    except OSError as error:
        raise RunError(f"{path}: cannot be read ({explain_os_error(error)})") from None
    except (RuntimeError, EOFError, KeyError, ValueError) as error:
        raise RunError(f"{path}: is damaged ({error}). {_advice(path)}") from None
    missing = sorted(set(required) - set(checkpoint)) if isinstance(checkpoint, dict) else sorted(required)
    if missing or not isinstance(checkpoint, dict):
        raise RunError(
            f"{path}: is not a checkpoint of this program; it lacks {', '.join(missing) or 'every key'}"
        )
    return checkpoint


def _check_container(path: Path) -> None:
    # torch itself does not notice a flipped bit in the weights; the checksums of the container do.
    try:
        if not zipfile.is_zipfile(path):
            raise RunError(_not_a_container(path))
        with zipfile.ZipFile(path) as container:
            if not any(name.endswith("/data.pkl") for name in container.namelist()):
                raise RunError(_not_a_container(path))
            broken = container.testzip()
    except FileNotFoundError:
        raise RunError(f"{path}: there is no such checkpoint. {_advice(path)}") from None
    except OSError as error:
        raise RunError(f"{path}: cannot be read ({explain_os_error(error)})") from None
    except (zipfile.BadZipFile, EOFError, NotImplementedError) as error:
        raise RunError(f"{path}: is damaged ({error}). {_advice(path)}") from None
    if broken is not None:
        raise RunError(f"{path}: is damaged (checksum of {broken} is wrong). {_advice(path)}")


def _not_a_container(path: Path) -> str:
    with path.open("rb") as file:
        start = file.read(1)
    if start == b"\x80":
        return (
            f"{path}: is a Python pickle, not a checkpoint of this program. It is refused, because loading "
            "it could run a program hidden in it"
        )
    return f"{path}: is damaged or not a checkpoint ({path.stat().st_size} bytes). {_advice(path)}"


def _advice(path: Path) -> str:
    older = next_older(path)
    if older is None:
        return "There is no older checkpoint beside it; train again."
    return f"Use the next older one: {older}"


def next_older(path: Path) -> Path | None:
    """Return the newest intact-looking checkpoint beside `path` that is older than it, or None."""
    try:
        limit = path.stat().st_mtime_ns
    except OSError:
        limit = None
    candidates: list[tuple[int, Path]] = []
    with suppress(OSError):
        for other in path.parent.iterdir():
            if other == path or other.suffix not in _SUFFIXES or not zipfile.is_zipfile(other):
                continue
            written = other.stat().st_mtime_ns
            if limit is None or written <= limit:
                candidates.append((written, other))
    return max(candidates)[1] if candidates else None


def numbered_checkpoints(folder: Path, model_name: str | None = None) -> list[Path]:
    """Return the numbered checkpoints in a folder, newest epoch first.

    Parameters
    ----------
    folder
        A run's ``checkpoints`` folder.
    model_name
        Only those of this model; all when None.
    """
    stem = ".+" if model_name is None else re.escape(model_name)
    pattern = re.compile(rf"{stem}_(\d+)\.pth")
    found = [
        (int(match[1]), file) for file in folder.glob("*.pth") if (match := pattern.fullmatch(file.name))
    ]
    return [file for _, file in sorted(found, reverse=True)]


def prune(folder: Path, model_name: str, keep: int) -> list[Path]:
    """Delete all but the `keep` newest numbered checkpoints of a model.

    Returns
    -------
    list of Path
        What was deleted.
    """
    gone = numbered_checkpoints(folder, model_name)[keep:]
    for file in gone:
        file.unlink(missing_ok=True)
    return gone


def find_checkpoint(run_or_file: str | Path, which: Literal["best", "last"] = "best") -> Path:
    """Return a checkpoint of a run.

    Parameters
    ----------
    run_or_file
        A checkpoint file, which is returned as it is, a run folder, or a project with a single run.
    which
        ``"best"`` by the monitored value (the last one when nothing was validated yet), or ``"last"``.

    Raises
    ------
    RunError
        When there is no such file or folder, or the run has no checkpoint yet.
    """
    from .find import find_run

    path = Path(run_or_file)
    if path.is_file() and path.suffix in _SUFFIXES:
        return path
    folder = find_run(path).checkpoints
    names = (BEST, LAST) if which == "best" else (LAST,)
    for candidate in [*(folder / name for name in names), *numbered_checkpoints(folder)]:
        if candidate.is_file():
            return candidate
    raise RunError(f"{folder.parent}: has no checkpoint yet; one is written at the end of the first epoch")
