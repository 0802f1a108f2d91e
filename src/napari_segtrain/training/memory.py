"""What fits into the memory of a device, and what to say when something did not."""

from __future__ import annotations

import gc
import traceback
from collections.abc import Callable, Iterator

import torch

from napari_segtrain.config import ConfigError
from napari_segtrain.data.heap import keep_no_memory
from napari_segtrain.data.ram import main_memory
from napari_segtrain.network import NetworkPlan, estimate_memory
from napari_segtrain.runs import FittingSize

from .load import Load

SHARE = 0.8
"""Share of the free memory that a training may count on: estimates are rough, and others work too."""


def free_memory(device: torch.device) -> int:
    """Return the bytes that a new job could use on a device."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    return main_memory().free


def total_memory(device: torch.device) -> int:
    """Return the bytes of a device's memory, used ones included."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[1])
    return main_memory().total


def reclaim_memory(error: BaseException, device: torch.device) -> int:
    """Let go of what the computation that failed still holds, and return the bytes that there are then.

    Its tensors live as long as the error does: in the variables of the functions that it came through.
    """
    traceback.clear_frames(error.__traceback__)
    gc.collect()
    if device.type == "cpu":
        keep_no_memory()
    available = free_memory(device)
    if device.type == "cuda":
        # Torch keeps freed memory for itself; a new training of this process, or the end of it, gets it.
        available += torch.cuda.memory_reserved(device)
    return available


def largest_batch(plan: NetworkPlan, most: int, available: int) -> int:
    """Return the largest batch size up to `most`, by halving, that should fit; 1 when none does."""
    size = most
    while size > 1 and estimate_memory(plan, size) > SHARE * available:
        size //= 2
    return size


def suggest_fit(
    plan: NetworkPlan,
    batch_size: int,
    available: int,
    replan: Callable[[tuple[int, ...]], NetworkPlan],
) -> FittingSize | None:
    """Return the nearest smaller patch and batch size that should fit, or None.

    Fewer patches in a batch come first, because the patch size decides what the network can see.

    Parameters
    ----------
    plan, batch_size
        What did not fit.
    available
        Bytes that there are.
    replan
        Makes the plan for another patch size.
    """
    for patch, size in _smaller(plan.patch_size, batch_size):
        try:
            smaller = plan if patch == plan.patch_size else replan(patch)
        except ConfigError:
            continue  # such as blocks for more stages than a patch of this size has
        if estimate_memory(smaller, size) <= SHARE * available:
            return FittingSize(patch_size=smaller.patch_size, batch_size=size)
    return None


def _smaller(patch: tuple[int, ...], batch_size: int) -> Iterator[tuple[tuple[int, ...], int]]:
    size = batch_size // 2
    while size >= 1:
        yield patch, size
        size //= 2
    for smaller in smaller_patches(patch):
        yield smaller, 1


def smaller_patches(patch: tuple[int, ...]) -> Iterator[tuple[int, ...]]:
    """Yield smaller and smaller patches, (z,) y, x, down to edges of about 32 voxels."""
    while max(patch) > 32:
        longest = max(patch)
        # Halve the longest edges first, so that the patch comes nearer to a cube.
        patch = tuple(max(16, n // 2) if n > 0.75 * longest else n for n in patch)
        yield patch


def out_of_memory_message(
    plan: NetworkPlan, batch_size: int, device: torch.device, fit: FittingSize | None
) -> str:
    """Return what happened and what to do, in words."""
    where = "the GPU's memory" if device.type == "cuda" else "this machine's memory"
    patch = ",".join(map(str, plan.patch_size))
    needed = estimate_memory(plan, batch_size) / 2**30
    text = (
        f"{where} is not enough for patches of {patch} in batches of {batch_size}, which need about "
        f"{needed:.1f} GB; checkpoints so far are kept. "
    )
    if fit is None:
        return text + "Try fewer features (model_config.base_features), or a machine with more memory"
    smaller = ",".join(map(str, fit.patch_size))
    changes = [f"tr_config.batch_size {fit.batch_size}"]
    if fit.patch_size != plan.patch_size:
        changes.insert(0, f"tr_config.patch_size {smaller}")
    advice = f"This should fit: {' with '.join(changes)}"
    if fit.batch_size < batch_size:
        times = -(-batch_size // fit.batch_size)
        advice += f"; tr_config.accumulate {times} then gives the same effective batch"
    return text + advice


def frugal_message(device: torch.device) -> str:
    """Return what a run does about memory that ran out while the weights were changed, in words."""
    where = "the GPU's memory" if device.type == "cuda" else "this machine's memory"
    waiting = "" if device.type == "cpu" else "; what the optimizer remembers waits in the processor's memory"
    return (
        f"{where} was not enough to change all weights at once: this step, and those from here on, change "
        f"one tensor after another{waiting}. Nothing is lost, and the numbers are the same"
    )


def backed_off_message(load: Load, device: torch.device, batch_size: int) -> str:
    """Return what a run does about memory that ran out, in words."""
    where = "the GPU's memory" if device.type == "cuda" else "this machine's memory"
    keys = [f"tr_config.micro_batch {load.patches}"]
    if load.recompute:
        keys.append("tr_config.gradient_checkpointing")
    return (
        f"{where} was not enough, so that batches of {batch_size} are computed {load} from here on; the "
        f"batch was done again, nothing is lost, and the size of a step stays. The run's configuration has "
        f"{' and '.join(keys)} now"
    )
