"""Files that are either the old one or the new one, whatever happens while they are written."""

from __future__ import annotations

import itertools
import json
import math
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path, PurePath
from typing import Any, BinaryIO

from napari_segtrain.config import Config, RunError

_counter = itertools.count()
_LEFTOVER = ".*.part"


def explain_os_error(error: OSError) -> str:
    """Return what the operating system said, in words, without a path: ``"No space left on device"``."""
    return error.strerror or str(error) or type(error).__name__


@contextmanager
def atomic_writer(path: Path, *, flushed: bool = True) -> Iterator[BinaryIO]:
    """Open a file that takes the place of `path` only when everything is on the disk.

    The bytes go to a hidden file beside `path`, are flushed to the disk, and are renamed over `path`
    when the block ends without an exception; after an exception the hidden file is removed and `path`
    is what it was. A reader never sees a part of the new file.

    Parameters
    ----------
    path
        File to write; its folder must exist.
    flushed
        Whether to wait until the disk has it. Without, a power cut, though no crash of the program, may leave
        a damaged file: for what is checked when it is read.

    Yields
    ------
    BinaryIO
        Open for writing bytes.

    Raises
    ------
    OSError
        When the folder is missing or not writable, or the disk is full.
    """
    part = path.with_name(f".{path.name}.{os.getpid()}-{next(_counter)}.part")
    try:
        with part.open("xb") as file:
            yield file
            if flushed:
                file.flush()
                os.fsync(file.fileno())
        part.replace(path)
    except BaseException:
        with suppress(OSError):
            part.unlink(missing_ok=True)
        raise
    if flushed:
        _sync_folder(path.parent)


def _sync_folder(folder: Path) -> None:
    # The rename itself is only durable once the folder is on the disk; Windows has no such call.
    with suppress(OSError, AttributeError):
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def write_bytes(path: Path, data: bytes, *, flushed: bool = True) -> None:
    """Write `data` to `path` atomically; `flushed` as for `atomic_writer`.

    Raises
    ------
    RunError
        When the file cannot be written; the old file, if there is one, is kept.
    """
    try:
        with atomic_writer(path, flushed=flushed) as file:
            file.write(data)
    except OSError as error:
        raise RunError(
            f"{path}: cannot be written ({explain_os_error(error)}); free some space or choose a "
            "project folder that you may write to"
        ) from error


def give_another_name(path: Path, name: Path) -> None:
    """Make `name` a further name of the file `path`, or a copy on disks without such names; atomically.

    Raises
    ------
    OSError
        When it cannot be written.
    """
    part = name.with_name(f".{name.name}.{os.getpid()}.part")
    with suppress(FileNotFoundError):
        part.unlink()
    try:
        os.link(path, part)
    except OSError:
        shutil.copyfile(path, part)
    part.replace(name)


def write_text(path: Path, text: str) -> None:
    """Write `text` to `path` atomically, as UTF-8; errors as `write_bytes`."""
    write_bytes(path, text.encode("utf-8"))


def plain(value: Any) -> Any:
    """Return `value` in the types that JSON has.

    Numbers that are not finite become None, because JSON has no token for them; NumPy and torch
    scalars become numbers, paths and enumerations text, tuples lists, and configuration values the
    dictionaries that `Config.to_dict` gives.

    Raises
    ------
    TypeError
        When there is no such form, for example for an array.
    """
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return str(value)
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    if isinstance(value, PurePath):
        return str(value)
    if isinstance(value, Config):
        return plain(value.to_dict())
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(item) for item in value]
    if hasattr(value, "item") and getattr(value, "ndim", None) == 0:
        return plain(value.item())
    raise TypeError(f"a {type(value).__name__} has no form in JSON")


def dump_json(value: Any, *, indent: int | None = 2) -> str:
    """Return `value` as strict JSON text, after `plain`."""
    return json.dumps(plain(value), indent=indent, allow_nan=False, ensure_ascii=False)


def write_json(path: Path, value: Any) -> None:
    """Write `value` to `path` atomically, as JSON without NaN tokens; errors as `write_bytes` and `plain`."""
    write_text(path, dump_json(value) + "\n")


def read_json(path: Path, advice: str = "") -> Any:
    """Read a JSON file.

    Parameters
    ----------
    path
        The file.
    advice
        What to do when it is damaged, a sentence.

    Raises
    ------
    RunError
        When the file is missing, cannot be read, or is not JSON.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise RunError(f"{path}: cannot be read ({explain_os_error(error)})") from None
    except ValueError as error:
        what = f"{path}: is not valid JSON ({error}); the file is damaged"
        raise RunError(f"{what}. {advice}" if advice else what) from None


def remove_leftovers(folder: Path) -> None:
    """Delete unfinished files of processes that died while they wrote into `folder` or below it.

    Only to be called by the one process that may write there.
    """
    for part in folder.rglob(_LEFTOVER):
        with suppress(OSError):
            part.unlink()
