"""Tells whether stored images and labels are the same as last time, without decoding them."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Iterator
from pathlib import Path

MOST_BYTES = 2**28
"""Up to this size contents are hashed; of larger stores, sizes and times of every file."""
LOOKS = 256
"""Places that `content_hash` looks at in a store larger than that."""
LOOK = 2**16
"""Bytes it reads at each."""
UNSETTLED = 2.0
"""Seconds for which a file's times do not prove that it was not written again."""


def content_key(path: Path) -> str | None:
    """Return a short text that changes when the content of a file or folder changes.

    Parameters
    ----------
    path
        A file, or a folder such as a zarr store.

    Returns
    -------
    str or None
        None when nothing is there, or when a store too large to be read was written just now, so that
        times cannot tell.
    """
    try:
        files = [(file, file.stat()) for file in _files(path)]
        if sum(stat.st_size for _, stat in files) <= MOST_BYTES:
            return content_hash(path)
        digest = hashlib.blake2b(digest_size=16)
        for file, stat in files:
            newest = max(stat.st_mtime, stat.st_ctime)
            if time.time() - newest < UNSETTLED:
                return None
            digest.update(f"{file.relative_to(path.parent)}\0{stat.st_size}\0".encode())
            digest.update(f"{stat.st_mtime_ns}\0{stat.st_ctime_ns}\0".encode())
    except OSError:
        return None
    return digest.hexdigest()


def content_hash(path: Path) -> str | None:
    """Return a short text that follows from the content alone: the same on another machine, at another time.

    Of what is larger than `MOST_BYTES`, names and sizes of all files and `LOOKS` places spread over them are
    looked at, so that a change in a small part of a large volume may go unseen.

    Parameters
    ----------
    path
        A file, or a folder such as a zarr store.

    Returns
    -------
    str or None
        None when nothing is there or it cannot be read.
    """
    try:
        files = [(file, file.stat().st_size) for file in _files(path)]
        total = sum(size for _, size in files)
        digest = hashlib.blake2b(digest_size=16)
        step = max(total // LOOKS, 1)
        seen = 0
        for file, size in files:
            digest.update(f"{file.relative_to(path.parent).as_posix()}\0{size}\0".encode())
            if total <= MOST_BYTES:
                digest.update(_hash(file))
            elif places := range(-seen % step, size, step):
                with file.open("rb") as stream:
                    for place in places:
                        stream.seek(place)
                        digest.update(stream.read(LOOK))
            seen += size
    except OSError:
        return None
    return digest.hexdigest() if files else None


def _hash(file: Path) -> bytes:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "blake2b").digest()


def _files(path: Path) -> Iterator[Path]:
    if not path.is_dir():
        if path.exists():
            yield path
        return
    for folder, names, files in os.walk(path):
        names.sort()
        for name in sorted(files):
            yield Path(folder) / name
