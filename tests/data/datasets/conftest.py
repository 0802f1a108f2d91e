"""Small data folders, written as users write them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

Maker = Callable[..., Path]


def write(path: Path, array: np.ndarray) -> None:
    """Write an array in the format that the ending of its path says."""
    import tifffile
    import zarr

    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".zarr":
        zarr.create_array(str(path), data=array)
    elif path.suffix == ".npy":
        np.save(path, array)
    else:
        colour = array.ndim == 3 and array.shape[-1] in (3, 4)
        tifffile.imwrite(path, array, compression="zlib", photometric="rgb" if colour else "minisblack")


@pytest.fixture
def make_folder(tmp_path: Path) -> Maker:
    """Return a function that writes ``{"images/a.tif": array, …}`` into a new folder."""

    def make(arrays: Mapping[str, Any], name: str = "data") -> Path:
        root = tmp_path / name
        root.mkdir(exist_ok=True)
        for place, array in arrays.items():
            write(root / place, np.asarray(array))
        return root

    return make


@pytest.fixture
def noise() -> Callable[..., np.ndarray]:
    """Return a function that makes an image of random 8-bit values."""
    rng = np.random.default_rng(0)
    return lambda *shape: rng.integers(0, 255, shape, dtype=np.uint8)


@pytest.fixture
def blobs() -> Callable[..., np.ndarray]:
    """Return a function that makes labels with two objects, 1 and 2."""

    def make(*shape: int) -> np.ndarray:
        labels = np.zeros(shape, np.uint8)
        labels[tuple(slice(n // 8, n // 3) for n in shape)] = 1
        labels[tuple(slice(n // 2, n - 2) for n in shape)] = 2
        return labels

    return make
