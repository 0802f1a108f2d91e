"""What a training does that single steps do not, in words."""

from __future__ import annotations

from collections.abc import Iterator

from napari_segtrain.config import ExperimentConfig

from .resolve import ResolvedExperiment


def deviations(
    config: ExperimentConfig, resolved: ResolvedExperiment, *, whole: bool = False
) -> tuple[str, ...]:
    """Return why the weights of the steps are not those of a training, a sentence a reason.

    Parameters
    ----------
    config, resolved
        The experiment.
    whole
        Whether steps compute whole batches where the training computes them in parts.
    """
    return tuple(_deviations(config, resolved, whole=whole))


def _deviations(config: ExperimentConfig, resolved: ResolvedExperiment, *, whole: bool) -> Iterator[str]:
    tr, processes = config.tr_config, resolved.hardware.processes
    if processes > 1:
        together = resolved.effective_batch
        yield (
            f"The training has {processes} processes that learn together, from {together} patches a step "
            f"(tr_setup); the steps are taken in one, from {together // processes}"
        )
    if tr.ema_decay > 0:
        yield (
            "The training validates and predicts with averaged weights (tr_config.ema_decay "
            f"{tr.ema_decay:g}), which its checkpoints have as 'model'; the steps give the network's own"
        )
    if tr.max_time is not None:
        yield (
            f"The training ends after {tr.max_time:g} minutes (tr_config.max_time), and its learning rate "
            f"falls until then; the steps know no time, and their rate falls over {tr.num_epochs} epochs"
        )
    if tr.early_stopping > 0:
        yield (
            f"The training ends when {tr.early_stopping} validations in a row are no better "
            "(tr_config.early_stopping); the steps do not validate, and go on"
        )
    if resolved.compiled:
        yield (
            "The training computes with compiled code (tr_setup.compile), and single steps in part without: "
            "their weights differ by rounding"
        )
    if whole and resolved.at_a_time != resolved.batch_size:
        yield (
            f"A step computes the whole batch of {resolved.batch_size} patches, where the training computes "
            f"{resolved.at_a_time} at a time (tr_config.micro_batch): it needs more memory, and its weights "
            "differ from the training's by rounding, and by what dropout draws"
        )
