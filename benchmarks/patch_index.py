"""The patch index against a bare read of every chunk: sparse labels in a zarr store.

python benchmarks/patch_index.py [edge]      # edge of the volume in voxels, 512
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import numpy as np
import zarr

from napari_segtrain.config import DatasetConfig, TargetConfig
from napari_segtrain.data import open_layers
from napari_segtrain.data.index import PatchIndex
from napari_segtrain.data.records import Region

CHUNK, PATCH, REPEATS = 128, 128, 3


def write_labels(path: Path, edge: int) -> float:
    """Write balls of two labels until 1.2 % of the volume is labelled; return the share."""
    rng = np.random.default_rng(0)
    array = zarr.create_array(path, shape=(edge,) * 3, chunks=(CHUNK,) * 3, dtype="uint8", fill_value=0)
    radius = max(edge // 32, 4)
    grid = np.ogrid[tuple(slice(-radius, radius + 1) for _ in range(3))]
    ball = sum(g**2 for g in grid) <= radius**2
    painted = 0
    while painted < 0.012 * edge**3:
        start = rng.integers(0, edge - 2 * radius - 1, 3)
        box = tuple(slice(int(s), int(s) + 2 * radius + 1) for s in start)
        part = array[box]
        painted += int((ball & (part == 0)).sum())
        part[ball] = 1 + painted % 2
        array[box] = part
    return painted / edge**3


def seconds(task: Callable[[], object]) -> tuple[float, float]:
    """Return wall and processor seconds."""
    wall, processor = time.perf_counter(), time.process_time()
    task()
    return time.perf_counter() - wall, time.process_time() - processor


def main(edge: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        share = write_labels(Path(folder) / "labels.zarr", edge)
        image = np.broadcast_to(np.uint8(0), (edge,) * 3)
        config = DatasetConfig(targets={"a": TargetConfig(kind="binary", unlabelled=0)}, ndim=3)
        data = open_layers([{"image": image, "labels": {"a": str(Path(folder) / "labels.zarr")}}], config)
        (record,) = data.records.values()
        regions = [Region(record.id, (0,) * 3, record.shape)]
        labels = record.labels["a"]
        array = zarr.open_array(Path(folder) / "labels.zarr", mode="r")

        def read() -> None:
            for z in range(0, edge, CHUNK):
                for y in range(0, edge, CHUNK):
                    for x in range(0, edge, CHUNK):
                        array[z : z + CHUNK, y : y + CHUNK, x : x + CHUNK]

        def build(cache: Path | None = None) -> PatchIndex:
            return PatchIndex.build(data, regions, (PATCH,) * 3, config, cache)

        build()
        times = [(seconds(read), seconds(build)) for _ in range(REPEATS)]
        tracemalloc.start()
        index = build()
        peak = tracemalloc.get_traced_memory()[1] / 2**20
        tracemalloc.stop()
        written = len(labels.written_boxes() or [])
        cache = Path(folder) / "cache"
        build(cache)
        cached = min(seconds(lambda: build(cache))[0] for _ in range(REPEATS))
        middle = edge // 2
        stroke = [(middle, middle + 8)] * 3
        update = min(seconds(lambda: index.update(record.id, "a", stroke))[0] for _ in range(REPEATS))
    bare, built = (statistics.median(t[k][0] for t in times) for k in (0, 1))
    bare_cpu, built_cpu = (statistics.median(t[k][1] for t in times) for k in (0, 1))
    print(f"{edge}³ labels, {share:.1%} labelled, {written} of {(edge // CHUNK) ** 3} chunks written")
    print(f"bare read of every chunk   {bare:7.3f} s   cpu {bare_cpu:7.3f} s")
    print(f"patch index                {built:7.3f} s   cpu {built_cpu:7.3f} s   peak {peak:.0f} MiB")
    print(f"  ratio to the bare read   {built / bare:7.2f}")
    print(f"  from the cache           {cached:7.3f} s")
    print(f"  update by a stroke       {update:7.4f} s")
    print(f"positions {len(index)}")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 512)
