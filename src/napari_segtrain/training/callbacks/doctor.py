"""Lets the training doctor look at every epoch, and says what it finds, once."""

from __future__ import annotations

import lightning.pytorch as pl

from napari_segtrain.config import ExperimentConfig
from napari_segtrain.runs import Emit, Finding, Warned
from napari_segtrain.targets import Head

from ..doctor import Course, examine_course, not_a_number
from ..errors import NonFiniteLossError
from ..module import SegmentationModule


class Doctor(pl.Callback):
    """Warns of a training that goes wrong: of each kind of trouble once an output.

    Parameters
    ----------
    config
        The experiment.
    heads
        The outputs of the network.
    emit
        Told of findings.
    """

    def __init__(self, config: ExperimentConfig, heads: tuple[Head, ...], emit: Emit) -> None:
        self.config = config
        self.heads = heads
        self.emit = emit
        self._one_sided: dict[str, int] = {}
        self._told: set[tuple[str, str]] = set()

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: SegmentationModule) -> None:  # type: ignore[override]
        """Look at the epoch that has just ended."""
        pl_module.finish_epoch()
        self._one_sided = {name: self._one_sided.get(name, 0) + 1 for name in pl_module.one_sided_heads}
        for finding in examine_course(self._course(pl_module)):
            self._tell(finding)

    def on_exception(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException
    ) -> None:
        """Say what to do when the loss is no longer a number."""
        if isinstance(exception, NonFiniteLossError) and isinstance(pl_module, SegmentationModule):
            self._tell(not_a_number(self._course(pl_module)))

    def _course(self, module: SegmentationModule) -> Course:
        return Course(self.config, self.heads, tuple(module.rows), self._one_sided)

    def _tell(self, finding: Finding) -> None:
        if (finding.rule, finding.subject) not in self._told:
            self._told.add((finding.rule, finding.subject))
            self.emit(Warned(message=finding.sentence, finding=finding))
