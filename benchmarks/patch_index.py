"""The patch index of sparse labels against a bare read of the same chunks, and what a stroke costs.

python benchmarks/patch_index.py [edge]      # edge of the volume in voxels, 1024

1.2 % of the volume is labelled; patches of 128³ every 64 voxels; Zarr's own decoding of every stored chunk,
one after the other, is the measure. Wanted: at most 1.3 times that, 300 MiB, and 20 ms for a stroke of 10⁴
voxels. On a busy machine read the processor times: Zarr's many threads get more of it than two.
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

CHUNK, PATCH, REPEATS = 128, 128, 7
STROKE = (16, 25, 25)
"""10⁴ voxels."""


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


def strokes(index: PatchIndex, path: Path, record: str, edge: int) -> float:
    """Paint all over the volume; return the median seconds of an update, which follows each stroke."""
    rng = np.random.default_rng(1)
    array = zarr.open_array(path, mode="r+")
    times = []
    for _ in range(20):
        start = [int(rng.integers(0, edge - size)) for size in STROKE]
        bounds = [(low, low + size) for low, size in zip(start, STROKE, strict=True)]
        array[tuple(slice(*bound) for bound in bounds)] = 2
        times.append(seconds(lambda stroke=bounds: index.update(record, "a", stroke))[0])
    return statistics.median(times)


def main(edge: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "labels.zarr"
        share = write_labels(path, edge)
        image = np.broadcast_to(np.uint8(0), (edge,) * 3)
        config = DatasetConfig(targets={"a": TargetConfig(kind="binary", unlabelled=0)}, ndim=3)
        data = open_layers([{"image": image, "labels": {"a": str(path)}}], config)
        (record,) = data.records.values()
        regions = [Region(record.id, (0,) * 3, record.shape)]
        stored = record.labels["a"].written_boxes() or []
        array = zarr.open_array(path, mode="r")

        def read() -> None:
            for box in stored:
                array[box]

        def build(cache: Path | None = None) -> PatchIndex:
            return PatchIndex.build(data, regions, (PATCH,) * 3, config, cache)

        build()
        times = [(seconds(read), seconds(build)) for _ in range(REPEATS)]
        tracemalloc.start()
        index = build()
        peak = tracemalloc.get_traced_memory()[1] / 2**20
        tracemalloc.stop()
        positions = len(index)
        cache = Path(folder) / "cache"
        build(cache)
        cached = min(seconds(lambda: build(cache))[0] for _ in range(REPEATS))
        update = strokes(index, path, record.id, edge)
    bare, built = (statistics.median(t[k][0] for t in times) for k in (0, 1))
    bare_cpu, built_cpu = (statistics.median(t[k][1] for t in times) for k in (0, 1))
    print(f"{edge}³ labels, {share:.1%} labelled, {len(stored)} of {(edge // CHUNK) ** 3} chunks stored")
    print(f"bare read of the stored chunks {bare:7.3f} s   cpu {bare_cpu:7.3f} s")
    print(f"patch index                    {built:7.3f} s   cpu {built_cpu:7.3f} s   {positions} positions")
    print(f"  ratio to the bare read       {built / bare:7.2f}")
    print(f"  peak memory                  {peak:7.1f} MiB")
    print(f"  from the cache               {cached:7.3f} s")
    print(f"  update by a stroke of 10⁴    {update * 1000:7.1f} ms")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 1024)
