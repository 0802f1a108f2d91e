"""Pictures: PNG, JPEG, BMP. The header is read on opening, the picture on first use."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...config import DataError
from .base import Regions
from .cache import shared_cache
from .stored import OpenOptions, Stored, check_level

_MODES = {"1": "|b1", "L": "|u1", "P": "|u1", "I;16": "<u2", "I;16B": ">u2", "I": "<i4", "F": "<f4"}
_CHANNELS = {"LA": 2, "RGB": 3, "RGBA": 4}


def open_picture(path: Path, options: OpenOptions) -> Stored:
    """Open a picture. Palette pictures keep their palette index as a label, their colour as an image.

    Raises
    ------
    DataError
        When the file is not a readable picture.
    """
    from PIL import Image

    check_level(str(path), options.level, 1)
    dtype: np.dtype[Any]
    try:
        with Image.open(path) as picture:
            mode, (width, height) = picture.mode, picture.size
    except (OSError, ValueError, SyntaxError) as error:
        raise DataError(f"{path}: not a readable picture ({error}). Export it again.") from error
    if _deep_colour(path):
        mode, dtype, channels = "deep", np.dtype("u2"), 3 + (_png_colour(path) == 6)
    elif mode in _MODES and (mode != "P" or options.labels):
        dtype, channels = np.dtype(_MODES[mode]), 0
    else:
        mode = mode if mode in _CHANNELS else "RGB"
        dtype, channels = np.dtype(np.uint8), _CHANNELS[mode]
    info = path.stat()
    key = ("picture", str(path), info.st_mtime_ns, info.st_size, mode)

    def fetch(index: Regions) -> NDArray[Any]:
        return shared_cache().get(key, partial(_decode, path, mode))[index]

    shape, axes = ((height, width, channels), "yxs") if channels else ((height, width), "yx")
    return Stored(str(path), shape, dtype, fetch, axes, path=path)


def _decode(path: Path, mode: str) -> NDArray[Any]:
    from PIL import Image

    if mode == "deep":  # Pillow cuts colours of 16 bits down to 8
        import imagecodecs

        return np.array(imagecodecs.png_decode(path.read_bytes()))
    with Image.open(path) as picture:
        return np.array(picture if picture.mode == mode else picture.convert(mode))


def _deep_colour(path: Path) -> bool:
    """Return whether a file is a PNG with colours of 16 bits (bytes 24 and 25 of its header)."""
    return _png_colour(path) in (2, 6) and _header(path)[24] == 16


def _png_colour(path: Path) -> int:
    header = _header(path)
    return header[25] if header.startswith(b"\x89PNG") and len(header) > 25 else 0


def _header(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(26)
