"""What keeping the labels with every checkpoint costs, at 64 × 2048 × 2048 voxels.

    python benchmarks/label_history.py [fraction]      # labelled fraction of the volume, 0.05
    python benchmarks/label_history.py FOLDER          # the labels of a data folder instead

Prints the seconds of reading the volume once (in a thread, while the training runs), those that a checkpoint
waits after no stroke, a stroke and ten strokes, and the megabytes on the disk after each; and the ratio of a
checkpoint after a stroke to an epoch of 60 s. Of a folder: the seconds of reading its labels once, and what
is kept as a share of the files.
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path

import numpy as np

SHAPE = (64, 2048, 2048)
EPOCH = 60.0


def size_of(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def folder(data: Path) -> None:
    from napari_segtrain.data import open_dataset
    from napari_segtrain.runs.label_store import LabelStore
    from napari_segtrain.training.label_history import LabelHistory

    dataset = open_dataset(data)
    with tempfile.TemporaryDirectory() as run:
        start = time.perf_counter()
        history = LabelHistory(dataset, LabelStore(Path(run)), 1e9)
        begun = time.perf_counter() - start
        history.start()
        history.store.note(1, history.state())
        seconds = time.perf_counter() - start
        kept, files = size_of(Path(run)), sum(size_of(data / kind) for kind in ("labels", "masks"))
        print(f"{len(dataset.records)} images: begun in {begun:.3f} s, read in {seconds:.2f} s")
        print(f"kept: {kept / 2**20:.2f} MB, {kept / files:.2f} of the files' {files / 2**20:.2f} MB")


def main(fraction: float) -> None:
    from napari_segtrain.data import open_dataset
    from napari_segtrain.data.live import labels_changed
    from napari_segtrain.runs.label_store import LabelStore
    from napari_segtrain.training.label_history import LabelHistory

    random = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as place:
        labels = np.memmap(Path(place) / "labels", np.uint8, "w+", shape=SHAPE)
        while np.count_nonzero(labels[::8, ::8, ::8]) < fraction * labels[::8, ::8, ::8].size:
            z, y, x = (int(random.integers(n)) for n in SHAPE)
            labels[z : z + 8, y : y + 40, x : x + 40] = random.integers(1, 200)
        image = {"kind": "memmap", "path": str(Path(place) / "labels"), "shape": list(SHAPE), "dtype": "|u1"}
        data = open_dataset({"layers": [{"id": "a", "image": image, "labels": {"cell": image}, "ndim": 3}]})
        history = LabelHistory(data, LabelStore(Path(place) / "run"))
        epoch = 0

        def checkpoint(what: str) -> float:
            nonlocal epoch
            start = time.perf_counter()
            epoch += 1
            history.store.note(epoch, history.state())
            seconds = time.perf_counter() - start
            size = size_of(Path(place) / "run")
            print(f"{what:32}{seconds:10.4f} s{size / 2**20:10.2f} MB", flush=True)
            return seconds

        def stroke(at: int) -> None:
            box = [(20, 21), (at, at + 12), (300, 700)]
            labels[tuple(slice(*side) for side in box)] = 1 + epoch
            labels_changed(data, [history], "a", "cell", box)

        history.start()
        checkpoint("reading everything once")
        checkpoint("a checkpoint, nobody painted")
        stroke(100)
        seconds = checkpoint("a checkpoint, one stroke")
        for number in range(10):
            stroke(400 + 150 * number)
        checkpoint("a checkpoint, ten strokes")
        print(f"of an epoch of {EPOCH:.0f} s, one stroke: {seconds / EPOCH:.4%}")


if __name__ == "__main__":
    given = sys.argv[1] if len(sys.argv) > 1 else "0.05"
    folder(Path(given)) if Path(given).is_dir() else main(float(given))
