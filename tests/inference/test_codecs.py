from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr

from napari_segtrain.data.sources import open_source
from napari_segtrain.inference import ZarrSink
from napari_segtrain.inference.codecs import few_chunks_at_a_time, few_threads_for_chunks

FEW = max(1, (os.cpu_count() or 1) // 4)


def test_zarr_works_on_few_chunks_and_then_on_as_many_as_before() -> None:
    before = zarr.config.get("async.concurrency")
    with few_chunks_at_a_time():
        assert zarr.config.get("async.concurrency") == FEW
    with pytest.raises(RuntimeError), few_chunks_at_a_time():
        raise RuntimeError
    assert zarr.config.get("async.concurrency") == before


def test_a_store_is_written_so(
    tmp_path: Path, predictor_of: Any, head: Any, fixed: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []
    write = ZarrSink.write
    monkeypatch.setattr(
        ZarrSink, "write", lambda *a: (seen.append(zarr.config.get("async.concurrency")), write(*a))[1]
    )
    predictor = predictor_of(fixed({"a": lambda x: x}), [head("a")])
    predictor.predict_source(open_source(np.ones((40, 40), np.uint8)), ZarrSink(tmp_path / "out.zarr"))
    assert seen
    assert set(seen) == {FEW}


def test_a_process_that_only_predicts_has_few_zarr_threads() -> None:
    before = zarr.config.get("threading.max_workers")  # commands that other tests gave may have set it
    with zarr.config.set({"threading.max_workers": None}):  # what is set inside is undone at the end
        few_threads_for_chunks()
        assert zarr.config.get("threading.max_workers") == FEW
    assert zarr.config.get("threading.max_workers") == before
