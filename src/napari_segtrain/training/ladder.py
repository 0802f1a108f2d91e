"""What a training can be in place of what was planned, to need less memory: one rung after another."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from napari_segtrain.config import ConfigError, ExperimentConfig

from .memory import smaller_patches
from .resolve import ResolvedExperiment, with_patch


def rungs(config: ExperimentConfig, resolved: ResolvedExperiment) -> Iterator[ResolvedExperiment]:
    """Yield an experiment as it was planned, and then what needs less and less memory.

    What was left open gives way in this order: the batch size, then the number format (on a GPU), at last the
    patch size, because it decides what the network can see. What somebody chose stays; a batch that was
    chosen is computed in parts instead, which gives the same step. Features that are computed again, which
    change nothing but the time, come before format and patch.

    Parameters
    ----------
    config
        What was asked for: says what was left open.
    resolved
        What it means.
    """
    seen: set[tuple[int, ...]] = set()
    for patch in (resolved.patch_size, *_open_patches(config, resolved)):
        try:
            planned = resolved if patch == resolved.patch_size else with_patch(config, resolved, patch)
        except ConfigError:
            continue  # such as blocks for more stages than a patch of this size has
        if planned.patch_size not in seen:
            seen.add(planned.patch_size)
            yield from _of_one_patch(config, planned)


def _open_patches(config: ExperimentConfig, resolved: ResolvedExperiment) -> Iterator[tuple[int, ...]]:
    if config.tr_config.patch_size is not None:
        return
    larger = resolved.patch_size
    for smaller in smaller_patches(larger):
        # Half of an edge is an eighth of a volume: what lies between may fit.
        yield tuple((a + b) // 2 for a, b in zip(larger, smaller, strict=True))
        yield smaller
        larger = smaller


def _of_one_patch(config: ExperimentConfig, planned: ResolvedExperiment) -> Iterator[ResolvedExperiment]:
    yield planned
    if config.tr_config.batch_size is None and config.tr_config.micro_batch is None:
        while planned.batch_size > 1:
            planned = planned.replace(batch_size=planned.batch_size // 2)
            yield planned
    for load in planned.load.lighter_ones(planned.batch_size):
        least = planned.under(load)
        yield least
        if load.recompute and _can_be_shorter(config, planned):
            yield least.replace(precision="fp16")


def _can_be_shorter(config: ExperimentConfig, planned: ResolvedExperiment) -> bool:
    """Return whether 16 bits are a choice: processors and Apple GPUs gain nothing by them."""
    automatic = config.tr_setup.precision == "auto"
    return automatic and planned.accelerator == "cuda" and planned.precision == "fp32"


def settings(planned: ResolvedExperiment, chosen: ResolvedExperiment) -> dict[str, Any]:
    """Return the settings, by dotted name, that turn what was planned into what was chosen."""
    pairs: dict[str, tuple[Any, Any]] = {
        "tr_config.patch_size": (list(planned.patch_size), list(chosen.patch_size)),
        "tr_config.batch_size": (planned.batch_size, chosen.batch_size),
        "tr_config.micro_batch": (planned.micro_batch, chosen.micro_batch),
        "tr_config.gradient_checkpointing": (
            planned.gradient_checkpointing,
            chosen.gradient_checkpointing,
        ),
        "tr_setup.precision": (planned.precision, chosen.precision),
    }
    return {name: after for name, (before, after) in pairs.items() if before != after}


def in_words(planned: ResolvedExperiment, chosen: ResolvedExperiment) -> str:
    """Say how a training differs from what was planned, such as ``"batches of 1 instead of 4"``."""
    changed = settings(planned, chosen)
    words = []
    if "tr_config.patch_size" in changed:
        sizes = (",".join(map(str, each.patch_size)) for each in (chosen, planned))
        words.append("patches of {} instead of {}".format(*sizes))
    if "tr_config.batch_size" in changed:
        words.append(f"batches of {chosen.batch_size} instead of {planned.batch_size}")
    if "tr_setup.precision" in changed:
        words.append(f"{chosen.precision} instead of {planned.precision}")
    if chosen.load != planned.load:
        words.append(f"batches of {chosen.batch_size} computed {chosen.load}; the size of a step stays")
    return ", ".join(words)
