"""``segtrain predict`` with small blocks that notes every tile it predicts, and kills itself after some.

``predict_script.py LOG TILES ARGUMENTS…``: 0 tiles let it live.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import numpy as np
import torch

from napari_segtrain.cli import main
from napari_segtrain.inference import predictor, tile_model
from napari_segtrain.inference.sinks import base

plain = tile_model.NetworkTiles.predict


def run(log: Path, tiles: int, arguments: list[str]) -> None:
    torch.set_num_threads(1)
    base.CHUNK_EDGE.update({2: 16, 3: 16})
    predictor.MEMORY_BUDGET = 0

    def predict(self: tile_model.NetworkTiles, count: int) -> np.ndarray:
        with log.open("a") as file:
            file.write("tile\n" * count)
        if tiles and len(log.read_text().splitlines()) >= tiles:
            os.kill(os.getpid(), signal.SIGKILL)
        return plain(self, count)

    tile_model.NetworkTiles.predict = predict  # type: ignore[method-assign]
    main(["predict", *arguments])


if __name__ == "__main__":
    run(Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3:])
