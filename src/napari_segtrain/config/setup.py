"""Section `tr_setup`: how a run is called, and on what it runs."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import field_validator, model_validator

from .base import Config
from .fields import key

Precision = Literal["auto", "fp32", "bf16", "fp16"]
Switch = Literal["auto", "on", "off"]


_DEVICE = r"(auto|cpu|mps|(cuda|gpu)(:\d+)?)"


class TrSetup(Config):
    """Name, randomness, hardware."""

    model_name: str = key(
        "segtrain",
        "Model name",
        "Name of the network; numbered checkpoints and debug pictures are called after it.",
        pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$",
    )
    run_name: str | None = key(
        None,
        "Run name",
        "Name of the run's folder. Without one the run is called after the settings that differ "
        "from the file or the defaults.",
        pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$",
        level="common",
    )
    seed: int = key(
        0,
        "Seed",
        "Everything random in a run follows from this number; the same seed gives the same weights.",
        ge=0,
        lt=2**31,
    )
    device: str = key(
        "auto",
        "Device",
        "Where to compute: auto takes the first GPU, else the processor. A device that is absent "
        "is replaced by the processor, with a message. Several, such as cuda:0,cuda:1, train together.",
        pattern=rf"^{_DEVICE}( *, *{_DEVICE})*$",
        level="common",
    )
    devices: int | None = key(
        None,
        "Devices",
        "How many GPUs of this machine (of each node) train together: a process each, with its own batch. "
        "With device cpu so many processes share the processor. Empty: as many as device names.",
        unit="devices",
        ge=1,
        le=1024,
    )
    num_nodes: int = key(
        1,
        "Nodes",
        "Machines that train together. Each runs the same command, started by SLURM, torchrun or by hand.",
        unit="nodes",
        ge=1,
        le=10_000,
    )
    strategy: Literal["auto", "ddp"] = key(
        "auto",
        "Strategy",
        "ddp: every GPU of this machine trains, each in a process of its own, unless devices or device say "
        "which. auto: ddp where several devices are asked for.",
    )
    precision: Precision = key(
        "auto",
        "Precision",
        "Number format of the network's arithmetic. auto is bf16 or fp16 on a GPU that is fast at "
        "it, else fp32.",
    )
    compile: Switch = key(
        "auto",
        "Compile",
        "Translate the network to machine code (torch.compile), from the second epoch on. auto does so when "
        "the work ahead is worth the wait and a C++ compiler is there.",
    )
    num_workers: int | None = key(
        None,
        "Workers",
        "Threads that prepare patches; 0 prepares them in the training thread. Results do not "
        "depend on it. Empty: chosen from the machine.",
        unit="threads",
        ge=0,
        le=64,
    )
    train_split: float = key(
        0.8,
        "Training share",
        "Share of the images (of the blocks, when there is one image) that is trained on; the rest "
        "validates. Not used when the data folder has a split.json.",
        gt=0.0,
        lt=1.0,
        level="common",
    )

    folds: int | None = key(
        None,
        "Folds",
        "Cross-validation: the labelled images are dealt out into so many folds, by the seed. A run trains "
        "on all but one, which validates; one run a fold. Empty: one split, by the training share.",
        unit="folds",
        ge=2,
        le=1000,
    )
    fold: int = key(0, "Fold", "The fold that validates, from 0 to one less than there are folds.", ge=0)

    @model_validator(mode="after")
    def _a_fold_that_there_is(self) -> TrSetup:
        if self.fold >= (self.folds or 1):
            there = f"0 to {self.folds - 1}" if self.folds else "none: say how many with folds (--folds)"
            raise ValueError(f"fold {self.fold} does not exist; there are the folds {there}")
        return self

    @field_validator("compile", mode="before")
    @classmethod
    def _yaml_says_true_for_on(cls, value: Any) -> Any:
        return {True: "on", False: "off"}[value] if isinstance(value, bool) else value
