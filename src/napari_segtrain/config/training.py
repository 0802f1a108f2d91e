"""Section `tr_config`: how the network is trained."""

from __future__ import annotations

from typing import Literal

from pydantic import field_validator

from .base import Config
from .fields import key
from .optimizers import AdamW, Cosine, Optimizer, Schedule


class TrConfig(Config):
    """Patches, epochs, optimizer and when to stop."""

    patch_size: tuple[int, ...] | None = key(
        None,
        "Patch size",
        "Size of the pieces the network sees, in array order (z,) y, x. It is rounded up so that "
        "every pooling divides it. Empty: chosen from the data.",
        unit="px",
        level="common",
    )
    batch_size: int | None = key(
        None,
        "Batch size",
        "Patches in one step of the optimizer. Empty: chosen from dimension and hardware.",
        unit="patches",
        ge=1,
        le=4096,
        level="common",
    )
    micro_batch: int | None = key(
        None,
        "Computed at a time",
        "Patches of a batch that are in the network at a time; their gradients are summed, so that the step "
        "stays that of the whole batch. A smaller number needs less memory. Empty: the whole batch, or what "
        "fits; a run that runs out of memory makes it smaller by itself.",
        unit="patches",
        ge=1,
        le=4096,
    )
    gradient_checkpointing: bool = key(
        False,
        "Compute features again",
        "Features of the network are computed again in the backward pass instead of being kept (gradient "
        "checkpointing): much less memory, about a third more time, the same weights. A run that runs out of "
        "memory with a single patch switches it on by itself.",
    )
    num_epochs: int = key(
        50, "Epochs", "How many epochs to train.", unit="epochs", ge=1, le=1_000_000, level="common"
    )
    steps_per_epoch: int | None = key(
        None,
        "Steps an epoch",
        "Optimizer steps in one epoch. Empty: once over the indexed patches, between 10 and 250.",
        unit="steps",
        ge=1,
        le=1_000_000,
    )
    max_time: float | None = key(
        None,
        "Time limit",
        "Training ends after this time, with the learning-rate schedule fitted to it. Empty: no limit.",
        unit="minutes",
        gt=0.0,
        level="common",
    )
    optimizer: Optimizer = key(AdamW, "Optimizer", "The update rule and its settings.")
    scheduler: Schedule = key(Cosine, "Schedule", "How the learning rate changes over the run.")
    gradient_clip: float = key(
        12.0, "Gradient clip", "Largest total norm of the gradient; 0 switches clipping off.", ge=0.0
    )
    accumulate: int = key(
        1,
        "Accumulation",
        "Batches whose gradients are summed into one optimizer step; the effective batch is their product.",
        unit="batches",
        ge=1,
        le=1024,
    )
    ema_decay: float = key(
        0.0,
        "EMA decay",
        "Keep a moving average of the weights and use it for validation and prediction; 0 is off, "
        "0.999 is usual.",
        ge=0.0,
        lt=1.0,
    )
    val_every: int = key(1, "Validate every", "Epochs between two validations.", unit="epochs", ge=1)
    val_steps: int | None = key(
        None,
        "Validation steps",
        "Batches in one validation. Empty: all validation patches without overlap, at most 50 batches.",
        unit="batches",
        ge=1,
    )
    monitor: str = key(
        "val_loss",
        "Monitor",
        "Decides which checkpoint is best: val_loss, val_<target>_dice or another one of metrics.json.",
    )
    mode: Literal["min", "max"] = key(
        "min", "Better is", "Whether the monitored value should become small or large."
    )
    early_stopping: int = key(
        0,
        "Early stopping",
        "Stop after this many validations without a better monitored value; 0 never stops early.",
        unit="validations",
        ge=0,
    )
    keep_checkpoints: int = key(
        10, "Kept checkpoints", "How many numbered checkpoints are kept.", unit="files", ge=0, le=1000
    )
    debug_pictures: int = key(
        5,
        "Debug pictures",
        "At validations, image, ground truth and prediction of every output are drawn for one patch. The "
        "newest picture is plots/<model_name>_debug.png (in 3D .gif, through z) in the run folder; so many "
        "are kept with the number of their epoch. 0 draws none.",
        unit="files",
        ge=0,
        le=1000,
    )
    keep_labels: bool = key(
        True,
        "Keep labels",
        "A run keeps its labels and masks in labels/ of its folder, with every checkpoint, so that they can "
        "be opened again as they were. Each block of them is stored once, compressed. What is painted on "
        "open layers is saved as OME-Zarr too, in labels/newest.",
    )
    keep_labels_up_to: float = key(
        4.0,
        "Labels kept up to",
        "Labels and masks that are larger than this, before they are compressed and without what was never "
        "written, are not kept; the run says so.",
        unit="GiB",
        gt=0,
    )
    evaluate_after: Literal["all", "held_out", "none"] = key(
        "all",
        "Scores at the end",
        "What is scored with the best weights when the training is completed: all parts of the split (train, "
        "val, test), those held out (val, test), or none. The scores are in the run's report.html and "
        "evaluation/; segtrain evaluate writes them at any time.",
    )
    evaluate_patches: int | None = key(
        64,
        "Scored at most",
        "Of each part, as many voxels as so many patches have are scored at the end, evenly spread where "
        "there are more; of the training part no more than of the others together. The report says which "
        "share it was. Empty: all.",
        unit="patches",
        ge=1,
    )
    loss_on_label_only: bool = key(
        False,
        "Loss on labels only",
        "Compute losses only where a target is labelled with something else than background.",
    )

    @field_validator("patch_size")
    @classmethod
    def _two_or_three_axes(cls, value: tuple[int, ...] | None) -> tuple[int, ...] | None:
        if value is not None and (len(value) not in (2, 3) or min(value) < 4):
            raise ValueError(
                f"patch size {','.join(map(str, value))} is not usable: give two (2D) or three (3D) "
                "numbers of at least 4, such as 256,256 or 64,64,64"
            )
        return value
