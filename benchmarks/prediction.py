"""Time and memory of tiled prediction, beyond what the network itself takes.

    python benchmarks/prediction.py [--only time|tiles|memory] [--features N] [--repeats N]

time:   the whole way, from a Zarr store through reading, normalising, tiling, blending and writing to a Zarr
        store, against a bare forward pass of the same tiles that lie ready in memory. Both take turns; the
        ratio of processor times is what counts, at most 1.10 is wanted.
tiles:  milliseconds of bookkeeping for a 512² tile of a 4096² image, with a network that does nothing at all;
        less than 1 is wanted.
memory: peak resident memory of a child process that predicts volumes of edge 256 and 512 with a network
        of two outputs that does nothing, above that of the same process after predicting a single tile; it
        may grow by less than 10 %.
"""

from __future__ import annotations

import argparse
import re
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
import zarr
from torch import Tensor, nn

from napari_segtrain.config import InferenceConfig, LossConfig, NetworkConfig
from napari_segtrain.data.normalisation import Normalisation
from napari_segtrain.data.sources import open_source
from napari_segtrain.inference import MemorySink, Predictor, ZarrSink, few_threads_for_chunks
from napari_segtrain.network import build_network, count_parameters, make_plan
from napari_segtrain.targets import Head

EVERY_TILE = InferenceConfig(skip_empty=False, output="probabilities")


def outputs(ndim: int) -> list[Head]:
    losses = (LossConfig(name="BCEDiceLoss"),)
    mask = Head("mask", "mask", "mask", "binary", 1, "sigmoid", losses)
    return [mask, Head("depth", "mask", "depth", "distance_transform", 1, "none", losses)]


def predictor(ndim: int, patch: int, network: NetworkConfig | nn.Module) -> Predictor:
    config = network if isinstance(network, NetworkConfig) else NetworkConfig(features=(4,))
    size = (patch,) * ndim
    plan = make_plan(
        config,
        ndim=ndim,
        in_channels=1,
        patch_size=size,
        spacing=(1.0,) * ndim,
        shape=size,
        heads=outputs(ndim),
    )
    module = build_network(plan) if isinstance(network, NetworkConfig) else network
    normalisation = Normalisation(name="zscore", shift=(100.0,), scale=(0.02,))
    return Predictor.from_network(module, plan, outputs(ndim), normalisation, EVERY_TILE)


def volume(path: Path, shape: Sequence[int], chunk: int) -> Path:
    """Write noise, block by block."""
    array = zarr.create_array(str(path), shape=shape, chunks=(chunk,) * len(shape), dtype="uint8")
    random = np.random.default_rng(0)
    for start in range(0, shape[0], chunk):
        part = array[start : start + chunk]
        array[start : start + chunk] = random.integers(0, 200, part.shape, dtype=np.uint8)
    return path


def measure_time(features: int, repeats: int) -> None:
    print("time: whole prediction / bare forward of the same tiles (one tile a batch, overlap 0.5)")
    for ndim, patch, edge in ((3, 64, 128), (2, 256, 1024)):
        ours = predictor(ndim, patch, NetworkConfig(base_features=features))
        with tempfile.TemporaryDirectory() as folder:
            source = open_source(volume(Path(folder) / "in.zarr", (edge,) * ndim, 64 if ndim == 3 else 512))
            tiles = len(ours.grid(source.shape))
            tile = torch.randn(1, 1, *(patch,) * ndim)
            ours.network.eval()

            def bare(tile: Tensor = tile, count: int = tiles, network: nn.Module = ours.network) -> None:
                with torch.inference_mode():
                    for _ in range(count):
                        network(tile)

            def whole(source: object = source, folder: str = folder, ours: Predictor = ours) -> None:
                ours.predict_source(source, ZarrSink(Path(folder) / f"{time.perf_counter_ns()}.zarr"))

            bare()
            spent = take_turns({"bare": bare, "whole": whole}, repeats)
        ratios = [median(spent["whole"], kind) / median(spent["bare"], kind) for kind in (0, 1)]
        verdict = "ok" if ratios[0] <= 1.10 else "TOO SLOW"
        print(
            f"  {ndim}D {edge}^{ndim}, {tiles} tiles of {patch}^{ndim}, "
            f"{count_parameters(ours.plan) / 1e6:.1f} M parameters: "
            f"processor {ratios[0]:.3f}, clock {ratios[1]:.3f}   (wanted <= 1.10: {verdict})"
        )


def take_turns(ways: dict[str, Callable[[], None]], repeats: int) -> dict[str, list[tuple[float, float]]]:
    spent: dict[str, list[tuple[float, float]]] = {name: [] for name in ways}
    for _ in range(repeats):
        for name, way in ways.items():
            processor, clock = time.process_time(), time.perf_counter()
            way()
            spent[name].append((time.process_time() - processor, time.perf_counter() - clock))
    return spent


def median(spent: list[tuple[float, float]], kind: int) -> float:
    return statistics.median(values[kind] for values in spent)


class Trivial(nn.Module):
    """Passes the image on, as each of its outputs."""

    def __init__(self, *names: str) -> None:
        super().__init__()
        self.names = names

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        return dict.fromkeys(self.names, x)


def measure_tiles(repeats: int) -> None:
    ours = predictor(2, 512, Trivial("mask"))
    ours.heads = ours.heads[:1]
    source = open_source(np.random.default_rng(0).integers(0, 200, (4096, 4096)).astype(np.uint8))
    tiles = len(ours.grid(source.shape))
    tile, out = torch.randn(1, 1, 512, 512), torch.empty(1, 1, 512, 512)

    def bare() -> None:
        with torch.inference_mode():
            for _ in range(tiles):
                torch.sigmoid(ours.network(tile)["mask"], out=out)

    ours.predict_source(source, MemorySink())
    spent = take_turns(
        {"bare": bare, "whole": lambda: void(ours.predict_source(source, MemorySink()))}, repeats
    )
    each = [1000 * (median(spent["whole"], kind) - median(spent["bare"], kind)) / tiles for kind in (0, 1)]
    verdict = "ok" if each[0] < 1.0 else "TOO SLOW"
    print(
        f"tiles: bookkeeping of {tiles} tiles of 512^2 in a 4096^2 image: processor {each[0]:.2f} ms a tile, "
        f"clock {each[1]:.2f} ms   (wanted < 1: {verdict})"
    )


def void(_: object) -> None:
    return None


def measure_memory(edges: Sequence[int]) -> None:
    print("memory: peak above the network's own (2 outputs, tiles of 64^3, Zarr to Zarr)")
    peaks = []
    for edge in edges:
        with tempfile.TemporaryDirectory() as folder:
            volume(Path(folder) / "in.zarr", (edge,) * 3, 64)
            command = [sys.executable, __file__, "--child", folder]
            begin = time.perf_counter()
            result = subprocess.run(command, check=True, capture_output=True, text=True)
        peaks.append(float(result.stdout))
        print(f"  edge {edge}: {peaks[-1]:.0f} MiB   ({time.perf_counter() - begin:.0f} s)")
    growth = peaks[-1] / peaks[0] - 1
    print(f"  growth {growth:+.1%}   (wanted < 10 %: {'ok' if growth < 0.1 else 'TOO MUCH'})")


def child(folder: Path) -> None:
    torch.set_num_threads(1)
    few_threads_for_chunks()  # as `segtrain predict` does
    ours = predictor(3, 64, Trivial("mask", "depth"))
    ours.predict_array(np.zeros((64, 64, 64), np.uint8))
    own = peak_memory()
    ours.predict_source(open_source(folder / "in.zarr"), ZarrSink(folder / "out.zarr"))
    print(peak_memory() - own)


def peak_memory() -> float:
    """Return the largest resident memory of this process so far, in MiB."""
    status = Path("/proc/self/status")
    if status.exists():  # what getrusage says on Linux begins with the peak of the parent
        return int(re.search(r"VmHWM:\s*(\d+)", status.read_text())[1]) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == "darwin" else 1024)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--only", choices=("time", "tiles", "memory"))
    parser.add_argument("--features", type=int, default=16, help="features of the network's first stage")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--edges", type=int, nargs=2, default=(256, 512), help="of the volumes for memory")
    parser.add_argument("--child", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.child is not None:
        child(given.child)
        return
    torch.set_num_threads(1)
    if given.only in (None, "tiles"):
        measure_tiles(max(5, given.repeats))
    if given.only in (None, "time"):
        measure_time(given.features, given.repeats)
    if given.only in (None, "memory"):
        measure_memory(given.edges)


if __name__ == "__main__":
    main()
