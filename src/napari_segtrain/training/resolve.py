"""From intent and data facts to everything that a training needs to know, decided once."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal, Self

from napari_segtrain.config import ConfigError, DataFacts, ExperimentConfig, wrong_axes
from napari_segtrain.data.facts import gather_facts
from napari_segtrain.data.loader import default_workers
from napari_segtrain.data.normalisation import Normalisation
from napari_segtrain.losses import check_heads
from napari_segtrain.network import NetworkPlan, count_parameters, estimate_memory, make_plan
from napari_segtrain.network.hardware import (
    Accelerator,
    Hardware,
    Inventory,
    Number,
    choose_precision,
    resolve_hardware,
)
from napari_segtrain.targets import Head, doubtful_kinds, resolve_heads, resolve_targets

from .load import Load
from .memory import free_memory, largest_batch
from .monitor import check_monitor

if TYPE_CHECKING:
    from napari_segtrain.data import Dataset

_SMALL_2D = 128 * 128
_SMALL_3D = 48**3
_WORK = 6
"""Patches that fit into what the preparation of one works with: a larger crop, its labels, and copies."""


@dataclass(frozen=True)
class ResolvedExperiment:
    """What a configuration means for certain data on a certain machine.

    Attributes
    ----------
    facts
        What is known of the data.
    heads
        The outputs of the network.
    plan
        The network, with the patch size.
    batch_size
        Patches in a batch.
    num_workers
        Threads that prepare batches.
    accelerator, devices, num_nodes
        Kind of device, and those of one machine; how many machines. See `Hardware`.
    precision
        Number format of the network's arithmetic.
    augment_on_gpu
        Whether intensities of training patches are changed where the network is.
    accumulate
        Batches in one step of the optimizer.
    micro_batch
        Patches of a batch that are computed at a time; None for all.
    gradient_checkpointing
        Whether features are computed again in the backward pass.
    batches_per_epoch
        Training batches in an epoch; None until the patches are counted.
    normalisation
        Fitted on the training data; None until it is.
    compiled
        Whether the network is compiled; None until that is decided.
    messages
        What the user should know of these choices, a sentence each.
    """

    facts: DataFacts
    heads: tuple[Head, ...]
    plan: NetworkPlan
    batch_size: int
    num_workers: int
    accelerator: Accelerator
    devices: tuple[int, ...]
    precision: Number
    augment_on_gpu: bool = False
    accumulate: int = 1
    micro_batch: int | None = None
    gradient_checkpointing: bool = False
    batches_per_epoch: int | None = None
    normalisation: Normalisation | None = None
    compiled: bool | None = None
    messages: tuple[str, ...] = ()
    num_nodes: int = 1

    @property
    def hardware(self) -> Hardware:
        """Where it computes."""
        processes = len(self.devices) * self.num_nodes
        strategy: Literal["auto", "ddp"] = "ddp" if processes > 1 else "auto"
        return Hardware(self.accelerator, self.devices, strategy, num_nodes=self.num_nodes)

    @property
    def patch_size(self) -> tuple[int, ...]:
        """Size of a patch, (z,) y, x: the one asked for, rounded up to what the network takes."""
        return self.plan.patch_size

    @property
    def steps_per_epoch(self) -> int | None:
        """Steps of the optimizer in an epoch; the last one may accumulate fewer batches."""
        return None if self.batches_per_epoch is None else -(-self.batches_per_epoch // self.accumulate)

    @property
    def effective_batch(self) -> int:
        """Patches in one step of the optimizer: batch × accumulation × devices."""
        return self.batch_size * self.accumulate * self.hardware.processes

    @property
    def batch_in_words(self) -> str:
        """The effective batch with what makes it, such as ``"2 × 1 accumulated × 4 devices = 8 patches"``."""
        parts = [str(self.batch_size)]
        if self.accumulate > 1:
            parts.append(f"{self.accumulate} accumulated")
        if (processes := self.hardware.processes) > 1:
            parts.append(f"{processes} {'processes' if self.accelerator == 'cpu' else 'devices'}")
        many = "" if self.effective_batch == 1 else "es"
        parted = "" if self.at_a_time == self.batch_size else f", {self.at_a_time} at a time"
        if len(parts) == 1:
            return f"{parts[0]} patch{many} a step{parted}"
        return f"{' × '.join(parts)} = {self.effective_batch} patch{many} a step{parted}"

    @property
    def parameters(self) -> int:
        """Trainable numbers of the network."""
        return count_parameters(self.plan)

    @property
    def load(self) -> Load:
        """How much of a batch is computed at a time."""
        return Load(self.micro_batch, self.gradient_checkpointing)

    @property
    def at_a_time(self) -> int:
        """Patches in the network at a time."""
        return min(self.micro_batch or self.batch_size, self.batch_size)

    @property
    def batch_bytes(self) -> int:
        """Bytes of the processor's memory that a batch takes while it is prepared and until it is used."""
        channels = self.plan.in_channels + sum(head.out_channels for head in self.heads)
        patch = math.prod(self.patch_size) * (4 * channels + len(self.heads))
        return (self.batch_size + _WORK) * patch

    @property
    def memory(self) -> int:
        """Bytes that one training step needs, estimated."""
        return estimate_memory(self.plan, self.at_a_time, recompute=self.gradient_checkpointing)

    def under(self, load: Load) -> Self:
        """Return the same, computed with another load."""
        return self.replace(micro_batch=load.patches, gradient_checkpointing=load.recompute)

    @property
    def device(self) -> str:
        """Name of the (first) device."""
        return str(self.hardware.device)

    @property
    def where(self) -> str:
        """Every device, in words."""
        hardware = self.hardware
        if hardware.processes == 1:
            return self.device
        if self.accelerator == "cuda":
            names = ", ".join(f"cuda:{index}" for index in self.devices)
            return names if self.num_nodes == 1 else f"{names} on each of {self.num_nodes} nodes"
        return f"{self.accelerator}, {hardware.processes} processes"

    def replace(self, **changes: Any) -> Self:
        """Return a copy with other values."""
        return replace(self, **changes)

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON-able values."""
        return {
            "facts": self.facts.to_dict(),
            "heads": [head.to_dict() for head in self.heads],
            "plan": self.plan.to_dict(),
            "batch_size": self.batch_size,
            "num_workers": self.num_workers,
            "accelerator": self.accelerator,
            "devices": list(self.devices),
            "num_nodes": self.num_nodes,
            "precision": self.precision,
            "augment_on_gpu": self.augment_on_gpu,
            "accumulate": self.accumulate,
            "micro_batch": self.micro_batch,
            "gradient_checkpointing": self.gradient_checkpointing,
            "batches_per_epoch": self.batches_per_epoch,
            "normalisation": None if self.normalisation is None else self.normalisation.to_dict(),
            "compiled": self.compiled,
            "messages": list(self.messages),
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Read what `to_dict` returned."""
        values = dict(values)
        fitted = values["normalisation"]
        values["facts"] = DataFacts.model_validate(values["facts"])
        values["heads"] = tuple(Head.from_dict(head) for head in values["heads"])
        values["plan"] = NetworkPlan.model_validate(values["plan"])
        values["devices"] = tuple(values["devices"])
        values["messages"] = tuple(values["messages"])
        values["normalisation"] = None if fitted is None else Normalisation.from_dict(fitted)
        return cls(**values)


def resolve(
    config: ExperimentConfig, data: Dataset | DataFacts, inventory: Inventory | None = None
) -> ResolvedExperiment:
    """Decide everything that follows from the configuration, the data's facts and the machine.

    Reads no image, trains nothing and uses no random numbers.

    Parameters
    ----------
    config
        The experiment.
    data
        A data set, or what is known of one.
    inventory
        What the machine computes with; by default torch is asked.

    Raises
    ------
    ConfigError
        When settings contradict each other or the data.
    DataError
        When there is nothing to learn from.
    """
    facts = data if isinstance(data, DataFacts) else gather_facts(data, config)
    heads = _checked_heads(config, facts)
    plan = plan_network(config, facts, heads, config.tr_config.patch_size)
    # What follows from the patch, such as the scale of distances, follows from the one that is used.
    heads = resolve_heads(_with_patch(config, plan), facts)
    setup = config.tr_setup
    hardware = resolve_hardware(
        setup.device, inventory, count=setup.devices, num_nodes=setup.num_nodes, strategy=setup.strategy
    )
    precision, said = choose_precision(config.tr_setup.precision, hardware)
    on_gpu, why_not = _augment_on_gpu(config, facts.ndim, hardware)
    messages = [*hardware.messages, *said, *why_not, *_rounding(config.tr_config.patch_size, plan)]
    messages += doubtful_kinds(config, facts).values()
    messages += too_late(heads, config.tr_config.num_epochs)
    wanted, steps = config.tr_config.batch_size, config.tr_config.steps_per_epoch
    batch_size = wanted if wanted is not None else automatic_batch(plan, hardware)
    if wanted is None and batch_size < (usual := _usual_batch(plan, hardware)):
        messages.append(
            f"batches have {batch_size} instead of {usual} patches: no more should fit into the memory that "
            "is free; tr_config.batch_size says how many to take all the same"
        )
    workers = config.tr_setup.num_workers
    return ResolvedExperiment(
        facts=facts,
        heads=heads,
        plan=plan,
        batch_size=batch_size,
        num_workers=workers if workers is not None else default_workers(),
        accelerator=hardware.accelerator,
        devices=hardware.devices,
        num_nodes=hardware.num_nodes,
        precision=precision,
        augment_on_gpu=on_gpu,
        accumulate=config.tr_config.accumulate,
        micro_batch=config.tr_config.micro_batch,
        gradient_checkpointing=config.tr_config.gradient_checkpointing,
        batches_per_epoch=None if steps is None else steps * config.tr_config.accumulate,
        messages=tuple(messages),
    )


def settle(config: ExperimentConfig, resolved: ResolvedExperiment) -> ExperimentConfig:
    """Write out what was chosen for this data and this machine, so that the experiment can be repeated.

    Kinds of targets, dimension, patch and batch size, precision and compilation are filled in: another
    machine, or this one with less memory to spare, would choose differently. What follows from these and
    the data alone (the network, default losses, steps an epoch) stays open, so that it still follows when
    one of them is changed; `ResolvedExperiment` has it.

    Parameters
    ----------
    config
        What was asked for.
    resolved
        What it means; `compiled` decided.

    Returns
    -------
    ExperimentConfig
        Resolving it gives the same network, outputs and batches; settling it again changes nothing.
    """
    compiled = {True: "on", False: "off", None: config.tr_setup.compile}[resolved.compiled]
    dataset = config.dataset_config.replace(
        ndim=resolved.facts.ndim, targets=resolve_targets(config, resolved.facts)
    )
    return config.replace(
        tr_setup=config.tr_setup.replace(precision=resolved.precision, compile=compiled),
        tr_config=config.tr_config.replace(
            patch_size=resolved.patch_size,
            batch_size=resolved.batch_size,
            micro_batch=resolved.micro_batch,
            gradient_checkpointing=resolved.gradient_checkpointing,
        ),
        dataset_config=dataset,
    )


def with_patch(
    config: ExperimentConfig, resolved: ResolvedExperiment, patch_size: tuple[int, ...]
) -> ResolvedExperiment:
    """Return the same with patches of another size, and with what follows from it where that was left open.

    Raises
    ------
    ConfigError
        When settings of the network do not suit patches of this size.
    """
    plan = plan_network(config, resolved.facts, resolved.heads, patch_size)
    heads = resolve_heads(_with_patch(config, plan), resolved.facts)
    batch_size = config.tr_config.batch_size or automatic_batch(plan, resolved.hardware)
    return resolved.replace(plan=plan, heads=heads, batch_size=batch_size)


def _with_patch(config: ExperimentConfig, plan: NetworkPlan) -> ExperimentConfig:
    return config.replace(tr_config=config.tr_config.replace(patch_size=plan.patch_size))


def _checked_heads(config: ExperimentConfig, facts: DataFacts) -> tuple[Head, ...]:
    """Return the outputs; refuse what contradicts the data or cannot be trained, every fault at once."""
    faults: list[str] = []
    patch_size = config.tr_config.patch_size
    fault = None if patch_size is None else wrong_axes("tr_config.patch_size", patch_size, facts.ndim)
    if fault:
        faults.append(fault)
        config = config.replace(tr_config=config.tr_config.replace(patch_size=None))
    heads: tuple[Head, ...] = ()
    with _noting(faults):
        heads = resolve_heads(config, facts, faults)
    if heads:
        with _noting(faults):
            check_heads(heads, facts.ndim, config.tr_config.num_epochs)
        with _noting(faults):
            # Before the split is known, a value of the validation is taken to be possible.
            check_monitor(config.tr_config.monitor, heads, validates=True)
    if faults:
        raise ConfigError.listing(faults)
    return heads


@contextmanager
def _noting(faults: list[str]) -> Iterator[None]:
    try:
        yield
    except ConfigError as error:
        faults += error.faults


def plan_network(
    config: ExperimentConfig, facts: DataFacts, heads: Sequence[Head], patch_size: tuple[int, ...] | None
) -> NetworkPlan:
    """Plan the network of an experiment for a patch size, None for the automatic one."""
    return make_plan(
        config.network,
        ndim=facts.ndim,
        in_channels=config.network.in_channels or facts.in_channels,
        patch_size=patch_size,
        spacing=facts.spacing,
        shape=facts.shape,
        heads=heads,
    )


def automatic_batch(plan: NetworkPlan, hardware: Hardware) -> int:
    """Choose the batch size from dimension, patch and device, no larger than fits into its memory.

    A processor gains little from large batches: 4 patches in 2D (8 small ones), 1 in 3D (2 small ones).
    A GPU takes 12 in 2D and 2 in 3D, as nnU-Net's smallest plans do.
    """
    return largest_batch(plan, _usual_batch(plan, hardware), free_memory(hardware.device))


def _usual_batch(plan: NetworkPlan, hardware: Hardware) -> int:
    voxels = math.prod(plan.patch_size)
    if hardware.accelerator == "cpu":
        return (8 if voxels <= _SMALL_2D else 4) if plan.ndim == 2 else (2 if voxels <= _SMALL_3D else 1)
    return 12 if plan.ndim == 2 else 2


def _augment_on_gpu(config: ExperimentConfig, ndim: int, hardware: Hardware) -> tuple[bool, tuple[str, ...]]:
    """Return whether patches are finished on the GPU; and why not, when that was asked for."""
    augmentation = config.dataset_config.augmentation
    if not augmentation.enabled or augmentation.device == "cpu":
        return False, ()
    if hardware.accelerator == "cuda" and ndim == 3:
        return True, ()
    if augmentation.device == "auto":
        return False, ()
    why = "2D patches are" if ndim == 2 else "without an NVIDIA GPU to train on, patches are"
    return False, (f"dataset_config.augmentation.device is gpu, but {why} augmented by the processor",)


def too_late(heads: Sequence[Head], epochs: int) -> list[str]:
    """Name the losses that would count only after the end; outputs without any other are refused before."""
    return [
        f"{loss.name} of {head.name} counts from epoch {loss.start_epoch} on, but training has {epochs} "
        "epochs: it will never count. Train longer, or set its start_epoch lower"
        for head in heads
        for loss in head.losses
        if loss.start_epoch >= epochs
    ]


def _rounding(wanted: tuple[int, ...] | None, plan: NetworkPlan) -> list[str]:
    if wanted is None or tuple(wanted) == plan.patch_size:
        return []
    given, used = (",".join(map(str, size)) for size in (wanted, plan.patch_size))
    return [f"the patch size {given} is rounded up to {used}, so that every pooling divides it"]
