"""The room's public names, and what importing it costs."""

from __future__ import annotations

import subprocess
import sys

import pytest

import napari_segtrain.data as data


@pytest.mark.parametrize("name", data.__all__)
def test_every_public_name_is_there(name: str) -> None:
    assert getattr(data, name) is not None


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'Datset'"):
        data.Datset  # noqa: B018


def test_opening_data_waits_for_no_heavy_library() -> None:
    heavy = "torch", "numba", "zarr", "tifffile", "albumentations", "skimage"
    code = f"import sys, napari_segtrain.data; print([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
