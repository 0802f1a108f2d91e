"""Steps a second of the training loop, as a share of the bare network's.

    python benchmarks/training_loop.py [--workers N] [--threads N] [--blocks N] [--steps N] [--only NAME …]

The loop is a whole experiment: batches from disk-like arrays, augmented, with two auxiliary targets derived,
losses, scores, events, checks, curves. The seven steps are such an experiment too, with its loader, in a
plain loop as whoever takes a training apart writes it: the whole loop should take at most 1.02 times as long.
The bare network has one such batch in memory, and does forward pass, backward pass and optimizer step and
nothing else: with the cheapest loss there is (the mean of its outputs), and with the experiment's own losses.
All take turns in blocks within one run, so that other work on the machine slows them alike; the first steps
of each block, when the loader catches up, do not count. Ratios are of medians of wall time, wanted at least
0.90; of the fastest steps, which a busy machine says most of; and of the process' time on all cores, which
also counts what the loader's threads do on a core of their own, and is steadier with --threads 1.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

# Threads that wait for each other spin for long by default, and on a machine that does anything else take the
# core from the work they wait for: a step takes twice as long, at times ten times. A thousand turns cost
# nothing.
os.environ.setdefault("GOMP_SPINCOUNT", "1000")

import lightning.pytorch as pl
import numpy as np
import torch
from scipy import ndimage

from napari_segtrain.config import AdamW, ExperimentConfig
from napari_segtrain.data import open_dataset
from napari_segtrain.network import build_network
from napari_segtrain.runs import Control, FinishReason, RunFolder
from napari_segtrain.training import Experiment, build_callbacks, build_optimizer, build_trainer
from napari_segtrain.training.callbacks import Ending
from napari_segtrain.training.fit import run_loop
from napari_segtrain.training.steps import (
    backward_pass,
    calculate_loss,
    forward_pass,
    optimizer_step,
    prepare_batch,
    take_apart,
    zero_gradients,
)

TASKS = {
    "distance": {"type": "distance_transform", "source_target": "fg"},
    "normals": {"type": "surface_normals", "source_target": "fg"},
}
SIZES = {
    "2d": ((768, 768), (128, 128), 8),
    "3d": ((128, 128, 128), (32, 32, 32), 2),
    "2d-large": ((768, 768), (256, 256), 4),
    "3d-large": ((128, 128, 128), (64, 64, 64), 1),
}
"""Shape of the images, patch size and batch size; of the larger ones a step takes seconds."""


def layers(shape: tuple[int, ...]) -> dict[str, Any]:
    rng = np.random.default_rng(0)
    smooth = ndimage.gaussian_filter(rng.normal(size=shape).astype(np.float32), 6)
    labels = (smooth > np.quantile(smooth, 0.8)).astype(np.uint8)
    image = (60 + 80 * labels + rng.normal(0, 15, shape)).clip(0, 255).astype(np.uint8)
    return {"layers": [{"id": f"image{i}", "image": image, "labels": {"fg": labels}} for i in range(3)]}


Times = tuple[float, float]
"""Seconds on the wall, and of all threads of this process together."""


def clocks() -> Times:
    return time.perf_counter(), time.process_time()


def since(start: Times) -> Times:
    now = clocks()
    return now[0] - start[0], now[1] - start[1]


class Bare:
    """A network of the same plan that is trained on one batch in memory."""

    def __init__(self, experiment: Experiment, batch: dict[str, torch.Tensor], own_losses: bool) -> None:
        self.network = build_network(experiment.resolved.plan).train()
        self.optimizer = build_optimizer(AdamW(), self.network.parameters())
        self.batch = batch
        self.loss = experiment.module.loss if own_losses else None

    def step(self) -> None:
        self.optimizer.zero_grad(set_to_none=True)
        outputs = self.network(self.batch["image"])
        if self.loss is None:
            loss = torch.stack([output.mean() for output in outputs.values()]).sum()
        else:
            loss = self.loss(outputs, self.batch, 0).total
        loss.backward()
        self.optimizer.step()


class Stepped:
    """The same experiment, taken apart and stepped through by hand."""

    def __init__(self, config: ExperimentConfig, data: dict[str, Any]) -> None:
        self.parts = take_apart(config, data)
        self.optimization = self.parts.initialize_optimizer()
        self.batches = iter(self.parts.loader)

    def step(self) -> None:
        parts = self.parts
        batch = prepare_batch(next(self.batches), 0, parts.device)
        step = zero_gradients(self.optimization)
        prediction = forward_pass(step.network, batch, parts.precision)
        loss = calculate_loss(prediction, batch, parts.loss)
        gradients = backward_pass(step, loss)
        self.optimization, _ = optimizer_step(step, gradients, gradient_clip=parts.gradient_clip)


class Turns(pl.Callback):
    """Measures the loop's steps, and lets the others have their turn after each block of them."""

    def __init__(self, others: dict[str, Callable[[], None]], blocks: int, steps: int, skip: int) -> None:
        self.others = others
        self.blocks, self.steps, self.skip = blocks, steps, skip
        self.taken: dict[str, list[Times]] = {"loop": [], **{name: [] for name in others}}
        self.control: Control | None = None
        self._seen = 0
        self._mark = clocks()

    def on_train_batch_end(self, trainer: Any, pl_module: Any, *args: Any) -> None:
        self._seen += 1
        if self._seen > self.skip:
            self.taken["loop"].append(since(self._mark))
        if self._seen == self.skip + self.steps:
            self._let_others()
            self._seen = 0
            self.blocks -= 1
            if self.blocks == 0 and self.control is not None:
                self.control.stop(FinishReason.STOP_AFTER)
        self._mark = clocks()

    def _let_others(self) -> None:
        for name, step in self.others.items():
            for number in range(self.skip + self.steps):
                start = clocks()
                step()
                if number >= self.skip:
                    self.taken[name].append(since(start))


def measure(name: str, workers: int | None, blocks: int, steps: int) -> None:
    shape, patch, batch_size = SIZES[name]
    config = ExperimentConfig.parse(
        {
            "tr_setup": {"num_workers": workers, "device": "cpu", "compile": "off"},
            "tr_config": {"patch_size": patch, "batch_size": batch_size, "steps_per_epoch": 10_000},
            "model_config": {"base_features": 16},
            "dataset_config": {"targets": {"fg": {"kind": "binary"}}},
            "auxiliary_tasks": TASKS,
        }
    )
    with tempfile.TemporaryDirectory() as folder:
        run = RunFolder.create(Path(folder), "bench")
        control, ending = Control(), Ending()
        experiment = Experiment.prepare(config, open_dataset(layers(shape), config.dataset_config), run)
        resolved = experiment.resolved
        batch = experiment.data.loader("train").batch(0)
        stepped = Stepped(config, layers(shape))
        others = {
            "seven steps": stepped.step,
            "bare, own losses": Bare(experiment, batch, own_losses=True).step,
            "bare": Bare(experiment, batch, own_losses=False).step,
        }
        turns = Turns(others, blocks, steps, skip=2 * resolved.num_workers + 2)
        turns.control = control
        callbacks = build_callbacks(run, config, emit=run.open_events(), control=control)
        trainer = build_trainer(run, config, callbacks=[turns, *callbacks])
        run_loop(trainer, experiment.module, experiment.data, control, ending)
        experiment.data.close()
        stepped.parts.close()
    report(name, resolved, turns.taken)


def report(name: str, resolved: Any, taken: dict[str, list[Times]]) -> None:
    wall = {what: statistics.median(t for t, _ in times) for what, times in taken.items()}
    busy = {what: statistics.median(t for _, t in times) for what, times in taken.items()}
    size = "×".join(map(str, resolved.patch_size))
    print(
        f"{name}: {resolved.parameters / 1e6:.1f} M parameters, {resolved.batch_size} × {size}, "
        f"{resolved.num_workers} loader thread(s), {torch.get_num_threads()} torch thread(s)"
    )
    for what in wall:
        print(
            f"  {what:16} {1000 * wall[what]:8.1f} ms a step, {1 / wall[what]:6.2f} steps/s, "
            f"{1000 * busy[what]:8.1f} ms of processor time"
        )
    least = {what: min(t for t, _ in times) for what, times in taken.items()}
    ratios = [times["loop"] / times["seven steps"] for times in (wall, least, busy)]
    print(
        "  loop / seven steps       {:.3f} (fastest steps {:.3f}, processor time {:.3f}); wanted is 1.02 or "
        "less".format(*ratios)
    )
    for what in ("bare", "bare, own losses"):
        ratio = wall[what] / wall["loop"]
        low = "" if ratio >= 0.9 else "   below 0.90"
        print(f"  loop / {what:16} {ratio:5.2f} (processor time {busy[what] / busy['loop']:.2f}){low}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--workers", type=int, help="loader threads; by default chosen from the machine")
    parser.add_argument("--blocks", type=int, default=3, help="turns of each way")
    parser.add_argument("--steps", type=int, default=6, help="measured steps in a turn")
    parser.add_argument("--threads", type=int, help="torch threads; by default what torch chooses")
    parser.add_argument("--only", nargs="+", choices=SIZES, default=["2d", "3d"])
    options = parser.parse_args()
    if options.threads:
        torch.set_num_threads(options.threads)
    for name in options.only:
        measure(name, options.workers, options.blocks, options.steps)


if __name__ == "__main__":
    main()
