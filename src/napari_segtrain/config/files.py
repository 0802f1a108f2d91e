"""Reading and writing experiments as YAML or JSON files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from .errors import ConfigError
from .experiment import ExperimentConfig


def load_config(path: str | Path) -> ExperimentConfig:
    """Read an experiment from a YAML (or JSON) file.

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
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: is not valid YAML: {error}") from None
    if values is None:
        values = {}
    if not isinstance(values, dict):
        raise ConfigError(f"{path}: holds a {type(values).__name__}, not sections such as tr_config")
    return ExperimentConfig.parse(values, str(path))


def dump_config(config: ExperimentConfig) -> str:
    """Return the experiment as YAML text that `load_config` reads back to an equal value."""
    return yaml.safe_dump(config.to_dict(), sort_keys=False, allow_unicode=True, width=100)
