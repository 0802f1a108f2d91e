"""Command-line flags whose help is the schema's own text."""

from __future__ import annotations

from typing import Any

import typer
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from napari_segtrain.config import AdamW, ConfigError, ExperimentConfig, did_you_mean

TRAIN_KEYS = {
    "format": "dataset_config.format",
    "batch_size": "tr_config.batch_size",
    "patch_size": "tr_config.patch_size",
    "train_split": "tr_setup.train_split",
    "loss_on_label_only": "tr_config.loss_on_label_only",
    "lr": "tr_config.optimizer.lr",
    "num_epochs": "tr_config.num_epochs",
    "steps_per_epoch": "tr_config.steps_per_epoch",
    "max_time": "tr_config.max_time",
    "seed": "tr_setup.seed",
    "model_name": "tr_setup.model_name",
    "run_name": "tr_setup.run_name",
    "device": "tr_setup.device",
    "num_workers": "tr_setup.num_workers",
}
"""Flag of ``segtrain train`` to the key it overrides."""

PREDICT_KEYS = {
    "checkpoint": "checkpoint",
    "tile_size": "tile_size",
    "overlap": "overlap",
    "blending": "blending",
    "batch_size": "batch_size",
    "mirroring": "mirroring",
    "skip_empty": "skip_empty",
    "targets": "targets",
    "output": "output",
    "instances": "instances",
    "threshold": "threshold",
    "seed_threshold": "seed_threshold",
    "min_size": "min_size",
}
"""Flag of ``segtrain predict`` to the key of ``inference_config`` it overrides."""


def field_at(dotted: str) -> FieldInfo:
    """Return the schema's field at a dotted YAML name."""
    model: type[BaseModel] = ExperimentConfig
    *path, last = dotted.split(".")
    for part in path:
        by_name = {(field.alias or name): field for name, field in model.model_fields.items()}
        # The optimizers share what the command line can set, so any of them speaks for all.
        annotation = AdamW if part == "optimizer" else by_name[part].annotation
        if not (isinstance(annotation, type) and issubclass(annotation, BaseModel)):
            raise LookupError(dotted)
        model = annotation
    return {(field.alias or name): field for name, field in model.model_fields.items()}[last]


def schema_help(dotted: str) -> str:
    """Return a key's description with its unit and default, for ``--help``."""
    field = field_at(dotted)
    extra = field.json_schema_extra if isinstance(field.json_schema_extra, dict) else {}
    unit = f" [{extra['unit']}]" if extra.get("unit") else ""
    default = field.get_default(call_default_factory=True)
    shown = f" (default {default})" if isinstance(default, int | float | str) else ""
    return f"{field.description}{unit}{shown}"


def flag(dotted: str, *names: str) -> Any:
    """Declare an option that overrides the key at `dotted`; it counts only when it is given."""
    return typer.Option(*names, help=schema_help(dotted), show_default=False)


def given(keys: dict[str, str], values: dict[str, Any]) -> dict[str, Any]:
    """Return dotted key to value for the options that were given, also where the value is 0."""
    return {dotted: values[name] for name, dotted in keys.items() if values.get(name) is not None}


def sizes(text: str | None, option: str) -> tuple[int, ...] | None:
    """Parse ``"64,64,64"``.

    Raises
    ------
    ConfigError
        When a part is not a whole number.
    """
    if text is None:
        return None
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError:
        raise ConfigError(
            f"{option} {text!r} is not a size: give whole numbers in array order, such as 256,256 or 64,64,64"
        ) from None


def losses(texts: list[str] | None, targets: list[str]) -> dict[str, Any]:
    """Turn ``--loss`` options into overrides.

    Parameters
    ----------
    texts
        Each is ``Loss``, ``Loss,Loss`` (for every target) or ``target=Loss,Loss``.
    targets
        Names of the targets.

    Returns
    -------
    dict
        ``dataset_config.targets.<target>.losses`` to a list of names.

    Raises
    ------
    ConfigError
        When a target does not exist.
    """
    result: dict[str, Any] = {}
    for text in texts or []:
        target, equals, names = text.rpartition("=")
        chosen = [name.strip() for name in names.split(",") if name.strip()]
        if not chosen:
            raise ConfigError(f"--loss {text!r} names no loss: give Loss, or target=Loss")
        if equals and target not in targets:
            raise ConfigError(
                f"--loss {text!r}: there is no target {target!r}. {did_you_mean(target, targets)}"
            )
        for name in [target] if equals else targets:
            result[f"dataset_config.targets.{name}.losses"] = chosen
    return result


def assignments(texts: list[str] | None) -> dict[str, Any]:
    """Turn ``--set section.key=value`` options into overrides; values are read as YAML.

    Raises
    ------
    ConfigError
        When there is no equals sign, or the value is not YAML.
    """
    import yaml

    result: dict[str, Any] = {}
    for text in texts or []:
        dotted, equals, value = text.partition("=")
        if not equals or "." not in dotted:
            raise ConfigError(f"--set {text!r}: write section.key=value, such as tr_config.ema_decay=0.999")
        try:
            result[dotted.strip()] = yaml.safe_load(value)
        except yaml.YAMLError as error:
            raise ConfigError(f"--set {text!r}: the value is not YAML: {error}") from None
    return result
