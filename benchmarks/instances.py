"""Objects separated again: how soon what is looked at is there, against everything.

    python benchmarks/instances.py [edge]      # edge of the planes in voxels, 384

Prints the seconds until the visible plane of a volume has new objects, until the whole volume has, and their
ratio.
"""

from __future__ import annotations

import sys
import time

import numpy as np
from scipy import ndimage

from napari_segtrain.config import InferenceConfig
from napari_segtrain.inference.again import separate_again
from napari_segtrain.inference.kept_parts import KeptParts

DEPTH = 48


def main() -> None:
    """Measure and print."""
    edge = int(sys.argv[1]) if len(sys.argv) > 1 else 384
    shape = (DEPTH, edge, edge)
    values = ndimage.gaussian_filter(np.random.default_rng(0).random(shape, np.float32), 4)
    values = ((values - values.min()) / np.ptp(values)).astype(np.float16)
    parts = KeptParts(values, None, values, 3)
    view = (slice(DEPTH // 2, DEPTH // 2 + 1), slice(0, edge), slice(0, edge))
    written: list[float] = []
    begin = time.perf_counter()

    def write(where: tuple[slice, ...], labels: np.ndarray) -> None:
        written.append(time.perf_counter() - begin)

    separate_again(parts, InferenceConfig(threshold=0.55), write, lambda share: True, view)
    whole = time.perf_counter() - begin
    print(f"{' × '.join(map(str, shape))}: visible plane {written[0]:.2f} s, all {whole:.1f} s, "
          f"ratio {written[0] / whole:.3f}")  # fmt: skip


if __name__ == "__main__":
    main()
