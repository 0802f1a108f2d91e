"""What the training doctor found: a sentence, and where there is one, a change that helps."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from napari_segtrain.config import Config, ExperimentConfig

Severity = Literal["note", "warning", "fault"]


class Finding(Config):
    """Something that is probably not meant, or will go wrong, and what to do about it."""

    rule: str
    """Name of the rule that found it, such as ``"over_fitting"``."""
    severity: Severity
    """``fault``: training is impossible or useless. ``warning``: it will suffer. ``note``: worth knowing."""
    sentence: str
    """What it is, for the user."""
    subject: str = ""
    """The target or output it is about; empty for the whole."""
    remedy: dict[str, Any] = Field(default_factory=dict)
    """Keys of the experiment by dotted YAML name, and their new values; empty where no setting helps."""

    def cured(self, config: ExperimentConfig) -> ExperimentConfig:
        """Return the experiment with the remedy, validated.

        Raises
        ------
        ConfigError
            When it does not fit this experiment.
        """
        return config.with_overrides(self.remedy, f"the remedy for {self.rule}")
