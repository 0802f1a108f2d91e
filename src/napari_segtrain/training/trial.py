"""A real training step before the training, where an estimate leaves it open whether it fits."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import psutil
import torch
from torch import Tensor

from napari_segtrain.config import ExperimentConfig
from napari_segtrain.losses import MultiTaskLoss
from napari_segtrain.network import build_network, is_out_of_memory

from .ema import AveragedWeights
from .ladder import in_words, rungs
from .memory import SHARE, free_memory, reclaim_memory
from .randomness import untouched_randomness
from .resolve import ResolvedExperiment
from .steps import backward_pass, calculate_loss, forward_pass, initialize_optimizer, optimizer_step
from .values import Batch

_CLEAR = 0.4
"""Share of the free memory below which an estimate needs no proof."""
_TRUSTED = (0.5, 3.0)
"""By how much a measurement may correct an estimate: of small steps it is mostly noise."""
_LOOK_EVERY = 0.002


Check = Callable[[], None]
"""Called between long pieces of work; raises where the user has stopped them."""


def go_on() -> None:
    """Go on, whatever the user wants: for work that nobody can stop."""


def fitted(
    config: ExperimentConfig, resolved: ResolvedExperiment, check: Check = go_on
) -> ResolvedExperiment:
    """Return the experiment as it fits into the memory that is free, with a message where that is another.

    Of several processes the first decides for all. `check` is called before every trial.
    """
    chosen = fit(config, resolved, check)
    if chosen is resolved:
        return resolved
    needed, free = (n / 2**30 for n in (resolved.memory, room(resolved)))
    said = (
        f"a training step as planned ({needed:.1f} GB, estimated) would not fit into the memory that is free "
        f"({free:.1f} GB), so that the run has {in_words(resolved, chosen)}. Its configuration says so"
    )
    return chosen.replace(messages=(*chosen.messages, said))


def room(resolved: ResolvedExperiment) -> int:
    """Return the bytes that are free for a process of the training."""
    free = free_memory(torch.device(resolved.device))
    # Several GPUs have each their own memory; processes of one machine share the processor's.
    return free // len(resolved.devices) if resolved.accelerator == "cpu" else free


def fit(config: ExperimentConfig, resolved: ResolvedExperiment, check: Check = go_on) -> ResolvedExperiment:
    """Return what was planned, or the first of `rungs` that fits into the memory that is free.

    Where the estimate comes near to what is free, a real training step is taken, with a network that is
    thrown away. Random numbers are left as they were. A GPU refuses what it has no room for: each rung is
    tried there as it is. A system whose own memory is full ends programs, so that on a processor a step of a
    single patch, which takes its time too, says by how much estimates are wrong. Where nothing fits the last
    rung is returned: a run that fails says with which patch it would not.

    Parameters
    ----------
    config
        What was asked for: says what was left open.
    resolved
        What was planned.
    check
        Called before every trial.
    """
    free = room(resolved)
    if resolved.memory <= _CLEAR * free:
        return resolved
    most = SHARE * free
    shares: dict[tuple[tuple[int, ...], bool], float | None] = {}
    least = resolved
    for least in rungs(config, resolved):
        check()
        if resolved.accelerator == "cuda":
            share = _share(config, least)
        else:
            kind = least.patch_size, least.gradient_checkpointing
            if kind not in shares:
                single = least.replace(batch_size=1, micro_batch=None)
                shares[kind] = _share(config, single) if single.memory <= most else None
            share = shares[kind]
        if share is not None and share * least.memory <= most:
            return least
    return least


def _share(config: ExperimentConfig, resolved: ResolvedExperiment) -> float | None:
    """Return how much of its estimate a step takes, None for more than there is."""
    try:
        taken = step_memory(config, resolved)
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        reclaim_memory(error, torch.device(resolved.device))
        return None
    low, high = _TRUSTED
    # Half of an estimate in 32 bits is what a step in 16 bits may well take.
    low = low if resolved.precision == "fp32" else low / 2
    return min(high, max(low, taken / resolved.memory))


def step_memory(config: ExperimentConfig, resolved: ResolvedExperiment) -> int:
    """Return the bytes that a training step takes, by taking it with a network of its own.

    Gradients and moments are there before it, as they are in all steps but the first.

    Parameters
    ----------
    config
        Has the optimizer, and whether weights are averaged.
    resolved
        The network, its losses, the device, and how much of a batch is computed at a time.
    """
    device, tr = torch.device(resolved.device), config.tr_config
    with untouched_randomness(), _peak(device) as peak:
        network = build_network(resolved.plan).to(device).train()
        network.checkpointing = resolved.gradient_checkpointing
        loss = MultiTaskLoss(resolved.heads, resolved.facts.spacing).to(device)
        optimization = initialize_optimizer(network, tr.optimizer, precision=resolved.precision)
        averaged = AveragedWeights(network, tr.ema_decay) if tr.ema_decay else None
        for parameter in network.parameters():
            parameter.grad = torch.zeros_like(parameter)
        optimization.optimizer.step()
        batch = Batch(_blank(resolved, device))
        part = resolved.load.parts(batch)[0]
        judged = calculate_loss(forward_pass(network, part, resolved.precision), part, loss)
        gradients = backward_pass(optimization, judged, accumulate=True)
        optimizer_step(optimization, gradients, gradient_clip=tr.gradient_clip, measure=False)
        if averaged is not None:
            averaged.update()
    return peak[0]


def _blank(resolved: ResolvedExperiment, device: torch.device) -> dict[str, Tensor]:
    """Return a batch in which everything is labelled, and empty."""
    size = (resolved.batch_size, resolved.plan.in_channels, *resolved.patch_size)
    tensors = {"image": torch.zeros(size, device=device)}
    for head in resolved.heads:
        classes = head.encoding == "classes"
        shape = (size[0], 1 if classes else head.out_channels, *size[2:])
        tensors[head.name] = torch.zeros(shape, dtype=torch.int64 if classes else None, device=device)
        tensors[f"{head.name}_mask"] = torch.ones((size[0], 1, *size[2:]), dtype=torch.bool, device=device)
    return tensors


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
