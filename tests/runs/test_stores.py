from pathlib import Path

import pytest
import zarr

from napari_segtrain.runs.stores import store_state


@pytest.mark.parametrize("zarr_format", [2, 3])
def test_a_store_says_what_it_holds(tmp_path: Path, zarr_format: int) -> None:
    path = tmp_path / "out.zarr"
    assert store_state(path) == "absent"
    path.mkdir()
    assert store_state(path) == "absent"
    group = zarr.create_group(path, zarr_format=zarr_format)
    assert store_state(path) == "other"
    group.attrs["segtrain"] = {"complete": False}
    assert store_state(path) == "unfinished"
    group.attrs["segtrain"] = {"complete": True}
    assert store_state(path) == "complete"
    (path / ("zarr.json" if zarr_format == 3 else ".zattrs")).write_text("{ damaged")
    assert store_state(path) == "other"
