"""Choosing a completed run, to let it learn on."""

from __future__ import annotations

from qtpy.QtWidgets import QHBoxLayout, QSpinBox

from ...config import ExperimentConfig
from ...runs import FinishReason, RunInfo
from .resume_row import ResumeRow

_MORE = 10
_MOST = 1_000_000
_NARROW = 90
"""Pixels."""
_LIMITS: dict[str | None, dict[str, int | None]] = {
    FinishReason.EARLY_STOPPING: {"tr_config.early_stopping": 0},
    FinishReason.MAX_TIME: {"tr_config.max_time": None},
}
"""What ended a run would end it again at once."""


class KeepRow(ResumeRow):
    """The completed runs of a project, newest first, how many epochs more, and a button."""

    title = "Keep learning"
    tip = "Train it for more epochs, with the labels as they are painted now"

    def __init__(self) -> None:
        super().__init__()
        self.choice.setObjectName("completed")
        self.choice.setAccessibleName("Run to train longer")
        self.choice.setToolTip("Completed runs of the project, newest first")
        self.button.setObjectName("keep_learning")
        self.more = QSpinBox()
        self.more.setObjectName("more_epochs")
        self.more.setAccessibleName("How many epochs more")
        self.more.setToolTip("How many epochs more")
        self.more.setRange(1, _MOST)
        self.more.setValue(_MORE)
        self.more.setPrefix("+")
        self.more.setMaximumWidth(_NARROW)
        layout = self.layout()
        if isinstance(layout, QHBoxLayout):
            layout.insertWidget(1, self.more)


def longer(config: ExperimentConfig, info: RunInfo, more: int) -> ExperimentConfig:
    """Return the experiment of a completed run with so many epochs more than it has."""
    changes = {"tr_config.num_epochs": info.epoch + more, **_LIMITS.get(info.finish_reason, {})}
    return config.with_overrides(changes)
