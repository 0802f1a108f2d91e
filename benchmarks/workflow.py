"""What a workflow graph adds to the training that it runs: the same experiment with and without a graph.

Both train the same weights; medians of interleaved repeats, in seconds.

    python benchmarks/workflow.py [--repeats N]
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch

from napari_segtrain.config import ExperimentConfig
from napari_segtrain.data.samples import coins
from napari_segtrain.runs import LAST, load_checkpoint
from napari_segtrain.workflow import train
from napari_segtrain.workflow.demonstration import write_sample
from napari_segtrain.workflow.graph import execute, graph_of

EXPERIMENT = ExperimentConfig.parse(
    {
        "tr_setup": {"device": "cpu", "num_workers": 0, "compile": "off"},
        "tr_config": {
            "patch_size": [128, 128],
            "batch_size": 2,
            "num_epochs": 2,
            "steps_per_epoch": 5,
            "val_steps": 2,
            "evaluate_after": "none",
        },
        "model_config": {"base_features": 8},
    }
)


def weights(run: Path) -> dict[str, torch.Tensor]:
    return load_checkpoint(run / "checkpoints" / LAST)["model"]


def timed(work: Callable[[], object]) -> tuple[float, float]:
    """Return the seconds that work took, and those of the processor."""
    began, used = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - began, time.process_time() - used


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=8)
    repeats = parser.parse_args().repeats
    found: dict[str, list[tuple[float, float]]] = {"train": [], "graph": [], "graph again": []}
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        data = root / "data"
        write_sample(coins(), data)
        for number in range(-1, repeats):  # the first of each imports and compiles
            graph = graph_of(EXPERIMENT, str(data), str(root / f"graph{number}"))
            works = {
                "train": partial(train, EXPERIMENT, data, root / f"train{number}"),
                "graph": partial(execute, graph),
            }
            order = list(works.items())[:: 1 if number % 2 else -1]
            for name, work in [*order, ("graph again", works["graph"])]:
                found[name].append(timed(work))
            a, b = (weights(next((root / f"{name}{number}" / "runs").glob("[!.]*"))) for name in works)
            if not all(torch.equal(a[name], b[name]) for name in a):
                raise SystemExit("the weights differ")
    middle = {
        name: [statistics.median(values) for values in zip(*taken[1:], strict=True)]
        for name, taken in found.items()
    }
    print(f"{'':12} {'wall':>8} {'processor':>10}")
    for name, (wall, used) in middle.items():
        print(f"{name:12} {wall:6.3f} s {used:8.3f} s")
    (train_wall, train_used), (wall, used) = middle["train"], middle["graph"]
    print(f"a graph adds {wall - train_wall:+.3f} s, {used - train_used:+.3f} s of the processor")
    print(f"{wall / train_wall:.3f} times as long, {used / train_used:.3f} times; at most +0.5 s is allowed")
    print(f"ratio to 0.5 s: {(wall - train_wall) / 0.5:.2f}")


if __name__ == "__main__":
    main()
