"""The share of its speed that a training keeps with the live preview on.

    python benchmarks/live_preview.py [--seconds N] [--turns N] [--threads N] [--only 2d|3d]

Whole trainings as the Train dock has them run, without validations. The preview takes turns with none in
stretches of one run, so that other work on the machine slows both alike; meanwhile the view moves every two
seconds. Prints steps a second without and with it, and the median of their ratios, which shall be at least
0.85; the same of the process' time on all cores, which is steadier on a busy machine; and the share of the
time that was left to the training between previews.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

os.environ.setdefault("GOMP_SPINCOUNT", "1000")
import numpy as np
import torch
from scipy import ndimage

from napari_segtrain import workflow
from napari_segtrain.config import ExperimentConfig
from napari_segtrain.runs import Control, PreviewHint
from napari_segtrain.training.callbacks import PreviewCallback

LIMIT = 0.85
SIZES: dict[str, tuple[tuple[int, ...], tuple[int, ...], int, int]] = {
    "2d": ((1024, 1024), (256, 256), 2, 8),
    "3d": ((64, 192, 192), (32, 64, 64), 1, 16),
}
"""Shape of the image, patch size, batch size, base features."""


class Turns:
    """Lets previews through in every second stretch of time, and ends the training after the last.

    Attributes
    ----------
    found
        Of each stretch: seconds a step on the wall and of the process; without previews, with, without, ….
    kept
        Shares of the time that stretches with previews left to the training.
    """

    def __init__(self, control: Control, shape: tuple[int, ...], seconds: float, turns: int) -> None:
        self.control, self.shape, self.seconds = control, shape, seconds
        self.turns = 2 * turns
        self.found: list[tuple[float, float]] = []
        self.kept: list[float] = []
        self._random = np.random.default_rng(0)
        self._warm = time.perf_counter() + seconds
        self._start: tuple[float, float] | None = None
        self._steps = 0
        self._moved = 0.0
        self._spent = 0.0

    def __call__(self, callback: PreviewCallback, show: Any) -> None:
        """Take the end of a batch; `show` is what the training does there."""
        now = time.perf_counter()
        if self._start is None:
            show()
            if now > self._warm:
                self._begin()
            return
        self._steps += 1
        with_previews = len(self.found) % 2 == 1
        wall, process = now - self._start[0], time.process_time() - self._start[1]
        # A stretch with previews ends where the next is due: each has had the time that follows it.
        if wall < self.seconds or (with_previews and not callback.budget.due):
            if with_previews:
                self._move(now)
                show()
                self._spent += time.perf_counter() - now
            return
        self.found.append((wall / self._steps, process / self._steps))
        if with_previews:
            self.kept.append(1 - self._spent / wall)
        if len(self.found) == self.turns:
            self.control.stop()
        self._begin()

    def _begin(self) -> None:
        self._start = time.perf_counter(), time.process_time()
        self._steps, self._spent = 0, 0.0

    def _move(self, now: float) -> None:
        if now - self._moved > 2.0:
            self._moved = now
            size = [1 if len(self.shape) == 3 and axis == 0 else n // 3 for axis, n in enumerate(self.shape)]
            start = [int(self._random.integers(n - s)) for n, s in zip(self.shape, size, strict=True)]
            stop = [a + s for a, s in zip(start, size, strict=True)]
            self.control.look_at(PreviewHint(record="image", start=tuple(start), stop=tuple(stop)))


def image(shape: tuple[int, ...]) -> dict[str, Any]:
    """Return a layer of blobs."""
    rng = np.random.default_rng(0)
    smooth = ndimage.gaussian_filter(rng.normal(size=shape).astype(np.float32), 5)
    labels = (smooth > np.quantile(smooth, 0.8)).astype(np.uint8)
    noisy = (60 + 80 * labels + rng.normal(0, 15, shape)).clip(0, 255).astype(np.uint8)
    return {"layers": [{"id": "image", "image": noisy, "labels": {"cells": labels}}]}


def measure(name: str, seconds: float, turns: int) -> None:
    """Train, and print what previews cost."""
    shape, patch, batch, features = SIZES[name]
    config = ExperimentConfig.parse(
        {
            "tr_setup": {"device": "cpu"},
            "tr_config": {
                "patch_size": patch,
                "batch_size": batch,
                "num_epochs": 10_000,
                "steps_per_epoch": 1_000_000,
                "evaluate_after": "none",
            },
            "model_config": {"base_features": features, "blocks_per_stage": [1] * 4, "max_poolings": 3},
            "dataset_config": {"targets": {"cells": {"kind": "binary"}}},
        }
    )
    control = Control()
    turn = Turns(control, shape, seconds, turns)
    real = PreviewCallback.on_train_batch_end

    def in_turns(self: PreviewCallback, *args: Any) -> None:
        turn(self, lambda: real(self, *args))

    PreviewCallback.on_train_batch_end = in_turns  # type: ignore[method-assign]
    try:
        with tempfile.TemporaryDirectory() as project:
            workflow.train(config, image(shape), Path(project), preview=True, control=control)
    finally:
        PreviewCallback.on_train_batch_end = real  # type: ignore[method-assign]
    without, with_it = turn.found[::2], turn.found[1::2]
    for kind, which in (("wall", 0), ("process", 1)):
        ratio = statistics.median(a[which] / b[which] for a, b in zip(without, with_it, strict=True))
        plain, shown = (statistics.median(1 / t[which] for t in part) for part in (without, with_it))
        measured = f"{statistics.median(turn.kept):10.2f}" if which == 0 else ""
        print(f"{name:4}{kind:10}{plain:10.2f}{shown:10.2f}{ratio:8.2f}{LIMIT:8.2f}{measured}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=10.0, help="of a stretch")
    parser.add_argument("--turns", type=int, default=5, help="stretches with and without previews")
    parser.add_argument("--threads", type=int, default=None, help="of torch")
    parser.add_argument("--only", choices=list(SIZES))
    options = parser.parse_args()
    if options.threads:
        torch.set_num_threads(options.threads)
    print(f"{'':14}{'steps/s':>10}{'+ preview':>10}{'ratio':>8}{'limit':>8}{'measured':>10}", flush=True)
    for name in [options.only] if options.only else SIZES:
        measure(name, options.seconds, options.turns)


if __name__ == "__main__":
    main()
