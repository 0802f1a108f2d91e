"""Command-line flags whose help is the schema's own text."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import typer
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from napari_segtrain.config import AdamW, ConfigError, ExperimentConfig, did_you_mean
from napari_segtrain.runs import Finding

TRAIN_KEYS = {
    "format": "dataset_config.format",
    "batch_size": "tr_config.batch_size",
    "patch_size": "tr_config.patch_size",
    "train_split": "tr_setup.train_split",
    "folds": "tr_setup.folds",
    "fold": "tr_setup.fold",
    "loss_on_label_only": "tr_config.loss_on_label_only",
    "lr": "tr_config.optimizer.lr",
    "num_epochs": "tr_config.num_epochs",
    "steps_per_epoch": "tr_config.steps_per_epoch",
    "max_time": "tr_config.max_time",
    "seed": "tr_setup.seed",
    "model_name": "tr_setup.model_name",
    "run_name": "tr_setup.run_name",
    "device": "tr_setup.device",
    "devices": "tr_setup.devices",
    "num_nodes": "tr_setup.num_nodes",
    "strategy": "tr_setup.strategy",
    "num_workers": "tr_setup.num_workers",
}
"""Flag of ``segtrain train`` to the key it overrides."""

READING_KEYS = {"channel_axis": "channel_axis", "level": "level"}
"""Flag of ``segtrain predict`` to the key of ``dataset_config`` it overrides for the images."""

PREDICT_KEYS = {
    "checkpoint": "checkpoint",
    "tile_size": "tile_size",
    "overlap": "overlap",
    "blending": "blending",
    "strategy": "strategy",
    "batch_size": "batch_size",
    "mirroring": "mirroring",
    "resample": "resample",
    "skip_empty": "skip_empty",
    "targets": "targets",
    "output": "output",
    "instances": "instances",
    "threshold": "threshold",
    "seed_threshold": "seed_threshold",
    "seed_distance": "seed_distance",
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
    """Return a key's description with its unit, for ``--help``."""
    field = field_at(dotted)
    extra = field.json_schema_extra if isinstance(field.json_schema_extra, dict) else {}
    unit = f" [{extra['unit']}]" if extra.get("unit") else ""
    return f"{field.description}{unit}"


def flag(dotted: str, *names: str) -> Any:
    """Declare an option that overrides the key at `dotted`; it counts only when it is given."""
    default = field_at(dotted).get_default(call_default_factory=True)
    shown = f" (default {default})" if isinstance(default, int | float | str) else ""
    return typer.Option(*names, help=schema_help(dotted) + shown, show_default=False)


def run_flag(dotted: str, *names: str) -> Any:
    """Declare an option of which the run knows the value when it is not given."""
    told = schema_help(dotted).partition(" Empty: ")[0]
    return typer.Option(*names, help=told, show_default=False)


def given(keys: dict[str, str], values: dict[str, Any]) -> dict[str, Any]:
    """Return dotted key to value for the options that were given, also where the value is 0."""
    return {dotted: values[name] for name, dotted in keys.items() if values.get(name) is not None}


def origin_of(config_path: Path | None, options: bool) -> str:
    """Return what an experiment was made of, in words: its file, options, or both."""
    parts = [str(config_path)] if config_path is not None else []
    return " and ".join([*parts, "command line"] if options else parts)


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


def losses(texts: list[str] | None, targets: list[str], tasks: Sequence[str] = ()) -> dict[str, Any]:
    """Turn ``--loss`` options into overrides.

    Parameters
    ----------
    texts
        Each is ``Loss``, ``Loss,Loss`` or ``[Loss, Loss]`` (for every target), or the same after
        ``target=``. The terms of several options add up; a target that is named gets its own only.
    targets
        Names of the targets.
    tasks
        Names of the auxiliary tasks, which keep their losses unless they are named.

    Returns
    -------
    dict
        ``dataset_config.targets.<target>.losses`` or ``auxiliary_tasks.<task>.losses`` to a list of names.

    Raises
    ------
    ConfigError
        When a target does not exist.
    """
    everywhere: list[str] = []
    named: dict[str, list[str]] = {}
    for text in texts or []:
        target, equals, names = (part.strip() for part in text.rpartition("="))
        chosen = [name for part in names.strip("[]() ").split(",") if (name := part.strip(" '\""))]
        if not chosen:
            raise ConfigError(f"--loss {text!r} names no loss: give Loss, or target=Loss")
        if equals and target not in (*targets, *tasks):
            raise ConfigError(
                f"--loss {text!r}: there is no target {target!r}. {did_you_mean(target, [*targets, *tasks])}"
            )
        (named.setdefault(target, []) if equals else everywhere).extend(chosen)
    general = {name: everywhere for name in targets if everywhere}
    return {
        f"{'dataset_config.targets' if name in targets else 'auxiliary_tasks'}.{name}.losses": chosen
        for name, chosen in {**general, **named}.items()
    }


def assignments(
    texts: list[str] | None, form: str = "section.key", example: str = "tr_config.ema_decay=0.999"
) -> dict[str, Any]:
    """Turn ``--set section.key=value`` options into overrides; values are read as YAML.

    Parameters
    ----------
    texts
        The options.
    form, example
        What is before the equals sign, and one of these options, for messages.

    Raises
    ------
    ConfigError
        When there is no equals sign, or the value is not YAML.
    """
    import yaml

    from napari_segtrain.config.files import describe_yaml_error

    result: dict[str, Any] = {}
    for text in texts or []:
        dotted, equals, value = text.partition("=")
        if not equals or "." not in dotted:
            raise ConfigError(f"--set {text!r}: write {form}=value, such as {example}")
        try:
            result[dotted.strip()] = yaml.safe_load(value)
        except yaml.YAMLError as error:
            raise ConfigError(
                f"--set {text!r}: the value is not valid YAML{describe_yaml_error(error)}"
            ) from None
    return result


def with_flags(finding: Finding) -> str:
    """Return the sentence of a finding, with the flags of ``segtrain train`` that make its change."""
    if not finding.remedy:
        return finding.sentence
    return f"{finding.sentence}. Try: {' '.join(map(_as_flag, finding.remedy, finding.remedy.values()))}"


def _as_flag(key: str, value: Any) -> str:
    import yaml

    name = next((name for name, dotted in TRAIN_KEYS.items() if dotted == key), None)
    if isinstance(value, list):
        text = ",".join(map(str, value))
        text = text if name is not None else f"[{text}]"
    else:
        text = f"{value:g}" if isinstance(value, float) else yaml.safe_dump(value).split("\n")[0]
    return f"--{name.replace('_', '-')} {text}" if name is not None else f"--set {key}={text}"
