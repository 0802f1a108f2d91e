"""Reading and writing experiments as YAML or JSON files."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from .errors import ConfigError
from .experiment import ExperimentConfig
from .vesuvius import translate

ExperimentLike = ExperimentConfig | Mapping[str, Any] | str | Path
"""An experiment, its sections as plain values, or the path of a YAML file that holds them."""

_SECTIONS = ", ".join(field.alias or name for name, field in ExperimentConfig.model_fields.items())


def load_config(path: str | Path) -> ExperimentConfig:
    """Read an experiment from a YAML (or JSON) file, also one of the Vesuvius trainer; see `translate`.

    Raises
    ------
    ConfigError
        When the file is missing, is not YAML, or holds unknown keys or values.
    """
    path = Path(path)
    try:
        values: Any = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(
            f"{path}: cannot be read ({error.strerror}); give the path of a YAML file"
        ) from None
    except UnicodeDecodeError:
        raise ConfigError(f"{path}: is not a text file; give the path of a YAML file") from None
    except yaml.YAMLError as error:
        raise ConfigError(f"{path}: is not valid YAML{describe_yaml_error(error)}") from None
    if values is None:
        values = {}
    if not isinstance(values, dict):
        raise ConfigError(
            f"{path}: holds a {type(values).__name__}, but an experiment has sections with keys: {_SECTIONS}"
        )
    return _translated(values, str(path))


def as_experiment(value: ExperimentLike) -> ExperimentConfig:
    """Return the experiment that is given as such, as nested plain values, or as the path of a file.

    Raises
    ------
    ConfigError
        When it is none of these, or holds unknown keys or values; see `load_config`.
    """
    if isinstance(value, ExperimentConfig):
        return value
    if isinstance(value, str | Path):
        return load_config(value)
    if isinstance(value, Mapping):
        return _translated(dict(value), "configuration")
    raise ConfigError(
        f"an experiment cannot be a {type(value).__name__}: give an ExperimentConfig, the path of a YAML "
        f"file, or a dictionary of sections with keys: {_SECTIONS}"
    )


def _translated(values: dict[str, Any], origin: str) -> ExperimentConfig:
    values, faults = translate(values)
    try:
        config = ExperimentConfig.parse(values, origin)
    except ConfigError as error:
        raise ConfigError.listing([*faults, *error.faults], origin) from None
    if faults:
        raise ConfigError.listing(faults, origin)
    return config


def describe_yaml_error(error: yaml.YAMLError) -> str:
    """Return place and reason on one line, such as ``", line 2, column 4: expected ',' or '}'"``."""
    mark, problem = getattr(error, "problem_mark", None), getattr(error, "problem", None) or str(error)
    place = "" if mark is None else f", line {mark.line + 1}, column {mark.column + 1}"
    return f"{place}: {' '.join(str(problem).split())}"


def dump_config(config: ExperimentConfig) -> str:
    """Return the experiment as YAML text that `load_config` reads back to an equal value."""
    return yaml.safe_dump(config.to_dict(), sort_keys=False, allow_unicode=True, width=100)
