"""A real training step before the training, where an estimate leaves it open whether a batch fits."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psutil
import torch

from napari_segtrain.network import NetworkPlan, build_network, estimate_memory, is_out_of_memory
from napari_segtrain.network.hardware import Number

from .load import Load
from .memory import SHARE, free_memory, reclaim_memory
from .randomness import untouched_randomness
from .resolve import ResolvedExperiment
from .steps import autocast
from .team import Team

_CLEAR = 0.4
"""Share of the free memory below which an estimate needs no proof."""
_TRUSTED = (0.5, 3.0)
"""By how much a measurement may correct an estimate: of small steps it is mostly noise."""
_LOOK_EVERY = 0.002


def fitted(resolved: ResolvedExperiment, team: Team) -> ResolvedExperiment:
    """Return the experiment, computed so that it fits into the memory that is free, with a message.

    Several processes compute as they are told: each would have to come to the same.
    """
    if not team.alone:
        return resolved
    load = fitting_load(resolved)
    if load == resolved.load:
        return resolved
    said = (
        f"batches of {resolved.batch_size} would not fit into the memory that is free: they are "
        f"computed {load}; the size of a step stays"
    )
    return resolved.under(load).replace(messages=(*resolved.messages, said))


def fitting_load(resolved: ResolvedExperiment) -> Load:
    """Return how a batch has to be computed to fit into the memory that is free; mostly as it was planned.

    Estimates of `estimate_memory` decide, corrected by what a step of a single patch really takes here: it is
    taken, with a network that is thrown away, when the estimate comes near to what is free. Random numbers
    are left as they were.

    Parameters
    ----------
    resolved
        What was planned.
    """
    device = torch.device(resolved.device)
    free = free_memory(device)
    if resolved.memory <= _CLEAR * free:
        return resolved.load
    loads = [resolved.load, *resolved.load.lighter_ones(resolved.batch_size)]
    try:
        with untouched_randomness():
            taken = step_memory(resolved.plan, device, resolved.precision)
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        reclaim_memory(error, device)
        return loads[-1]
    low, high = _TRUSTED
    factor = min(high, max(low, taken / estimate_memory(resolved.plan, 1)))
    fitting = (load for load in loads if factor * resolved.under(load).memory <= SHARE * free)
    # Where nothing fits the least is tried all the same: a run that fails says with which patch it would not.
    return next(fitting, loads[-1])


def step_memory(plan: NetworkPlan, device: torch.device, precision: Number) -> int:
    """Return the bytes that one training step of a single patch takes, by taking it.

    Parameters
    ----------
    plan
        The network; its patch size is the input.
    device, precision
        Where, and in which number format, it computes.
    """
    with _peak(device) as peak:
        network = build_network(plan).to(device).train()
        optimizer = torch.optim.AdamW(network.parameters())
        image = torch.zeros(1, plan.in_channels, *plan.patch_size, device=device)
        with autocast(device, precision):
            outputs = network(image)
        levels = [
            level for value in outputs.values() for level in (value if isinstance(value, list) else [value])
        ]
        total: Any = torch.stack([level.float().square().mean() for level in levels]).sum()
        total.backward()
        optimizer.step()
    return peak[0]


@contextmanager
def _peak(device: torch.device) -> Iterator[list[int]]:
    """Yield a list that holds afterwards how much more memory was in use than before, at most."""
    found = [0]
    if device.type == "cuda":
        before = torch.cuda.memory_allocated(device)
        torch.cuda.reset_peak_memory_stats(device)
        try:
            yield found
        finally:
            found[0] = torch.cuda.max_memory_allocated(device) - before
            torch.cuda.empty_cache()
        return
    process, done = psutil.Process(), threading.Event()
    before = process.memory_info().rss

    def watch() -> None:
        while not done.wait(_LOOK_EVERY):
            found[0] = max(found[0], process.memory_info().rss - before)

    watcher = threading.Thread(target=watch, name="memory-peak", daemon=True)
    watcher.start()
    try:
        yield found
    finally:
        done.set()
        watcher.join()
        found[0] = max(found[0], process.memory_info().rss - before)
