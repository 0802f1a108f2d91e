"""The experiment: one frozen value that is the YAML file, the command line and the forms."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

from pydantic import Field, ValidationError, model_validator

from .auxiliary import AuxiliaryTask, task_faults
from .base import Config
from .dataset import DatasetConfig
from .errors import ConfigError
from .inference import InferenceConfig
from .model import NetworkConfig
from .setup import TrSetup
from .training import TrConfig
from .validation import describe_errors


class ExperimentConfig(Config):
    """Everything that decides what a run does; the same value gives the same weights.

    The YAML section ``model_config`` is the attribute `network`.
    """

    tr_setup: TrSetup = Field(default_factory=TrSetup, title="Set-up")
    tr_config: TrConfig = Field(default_factory=TrConfig, title="Training")
    network: NetworkConfig = Field(default_factory=NetworkConfig, title="Network", alias="model_config")
    dataset_config: DatasetConfig = Field(default_factory=DatasetConfig, title="Data")
    inference_config: InferenceConfig = Field(default_factory=InferenceConfig, title="Prediction")
    auxiliary_tasks: dict[str, AuxiliaryTask] = Field(default_factory=dict, title="Auxiliary tasks")

    @model_validator(mode="before")
    @classmethod
    def _empty_section_is_its_default(cls, values: Any) -> Any:
        """Take a section of which only the heading is written, as YAML files often have it."""
        if not isinstance(values, Mapping):
            return values
        return {name: section for name, section in values.items() if section is not None}

    @model_validator(mode="after")
    def _tasks_have_sources(self) -> Self:
        # Without targets, those that the data has are trained; they are compared when the data is known.
        faults = task_faults(self.auxiliary_tasks, self.dataset_config.targets or None)
        if faults:
            raise ValueError("\n".join(faults))
        return self

    @classmethod
    def parse(cls, values: Mapping[str, Any], origin: str = "configuration") -> Self:
        """Validate nested plain values, with errors in the user's words.

        Parameters
        ----------
        values
            Sections by their YAML names.
        origin
            Where the values come from, such as a file name; it begins every error message.

        Raises
        ------
        ConfigError
            Lists every fault: origin, key, what was given, what is allowed, the nearest valid name.
        """
        try:
            return cls.model_validate(values)
        except ValidationError as error:
            raise ConfigError.listing(describe_errors(error, cls), origin) from None

    def with_overrides(self, overrides: Mapping[str, Any], origin: str = "option") -> Self:
        """Return a copy in which single keys are replaced.

        Parameters
        ----------
        overrides
            Dotted YAML names to values, such as ``{"tr_config.optimizer.lr": 0.01}``. A value of
            None is a value, not an absence.

        Raises
        ------
        ConfigError
            When a key or value is not valid.
        """
        values = self.to_dict()
        for dotted, value in overrides.items():
            *path, last = dotted.split(".")
            node = values
            for depth, part in enumerate(path, start=1):
                node = node.setdefault(part, {})
                if not isinstance(node, dict):
                    raise ConfigError(
                        f"{origin}: {dotted}: {'.'.join(path[:depth])} is a value and has no keys; give it "
                        "as a whole"
                    )
            node[last] = value
        return self.parse(values, origin)
