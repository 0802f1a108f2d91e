"""Reading experiments that were written for the Vesuvius trainer, which has the same six sections."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from .errors import did_you_mean
from .vesuvius_keys import (
    LOSSES,
    MOVED,
    NEEDLESS,
    NONLINEARITIES,
    NORMALISATIONS,
    NORMS,
    OF_CLASSES,
    OPTIMIZERS,
    POOLINGS,
    REFUSED,
    SCHEDULES,
)


def translate(values: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """Write keys of the Vesuvius trainer as the keys of this one.

    An experiment that has none of the other trainer's keys and losses is returned as it is.

    Parameters
    ----------
    values
        Sections by name, as read from a YAML file.

    Returns
    -------
    dict, list of str
        The sections for `ExperimentConfig`, and a sentence for each key that has no meaning here.
    """
    work = _Translation({name: _copied(section) for name, section in values.items()})
    if not _is_theirs(values):
        return work.values, []
    for name in [name for name in work.values if name in REFUSED]:
        work.refuse(name)
    for section, keys in list(work.values.items()):
        if isinstance(keys, dict) and section != "auxiliary_tasks":
            for key in list(keys):
                work.key(section, key)
    work.optimizer()
    work.dimension()
    work.targets()
    work.tasks()
    return work.values, work.faults


def _copied(section: Any) -> Any:
    if isinstance(section, Mapping):
        return {key: _copied(value) for key, value in section.items()}
    return [_copied(item) for item in section] if isinstance(section, list) else section


@dataclass
class _Translation:
    """An experiment on the way from the one set of keys to the other."""

    values: dict[str, Any]
    faults: list[str] = field(default_factory=list)
    moved: set[str] = field(default_factory=set)

    def key(self, section: str, key: str) -> None:
        """Move, convert or refuse one key."""
        dotted = f"{section}.{key}"
        if dotted in MOVED:
            self.moved.add(dotted)
            self.put(MOVED[dotted], self.values[section].pop(key), dotted)
        elif dotted in _CONVERTED and _differs(dotted, self.values[section][key]):
            _CONVERTED[dotted](self, self.values[section].pop(key), dotted)
        elif dotted in NEEDLESS:
            del self.values[section][key]
        elif dotted in REFUSED:
            self.refuse(section, key)

    def refuse(self, section: str, key: str | None = None) -> None:
        """Take a key out and say why, unless it says that something is off."""
        dotted = section if key is None else f"{section}.{key}"
        value = self.values.pop(section) if key is None else self.values[section].pop(key)
        if value not in (None, False, 0, "", [], {}):
            self.faults.append(f"{dotted}: {REFUSED[dotted]}")

    def put(self, dotted: str, value: Any, origin: str) -> None:
        """Set a key of ours, unless the file has it too."""
        *path, last = dotted.split(".")
        node = self.values
        for part in path:
            if node.get(part) is None:
                node[part] = {}
            if isinstance(node[part], str):
                node[part] = {"name": node[part]}  # an optimizer that was given by its name alone
            node = node[part]
        if last in node and node[last] != value:
            self.faults.append(f"{origin}: {dotted} is given too; keep one of them")
        node[last] = value

    def choose(self, dotted: str, table: Mapping[str, str], value: Any, origin: str) -> None:
        """Set a key of ours to what a table says of their value."""
        given = str(value).lower().removeprefix("nn.").removesuffix("2d").removesuffix("3d")
        if given in table:
            self.put(dotted, table[given], origin)
        else:
            self.faults.append(f"{origin}: {value!r} is unknown. {did_you_mean(given, table)}")

    def fixed(self, value: Any, origin: str, allowed: tuple[Any, ...], what: str) -> None:
        """Accept a value that says what is done here anyway."""
        if value not in allowed:
            self.faults.append(f"{origin}: {value!r} is not offered: {what}")

    def optimizer(self) -> None:
        """Name the optimizer that theirs takes when only its settings are given."""
        training = self.values.get("tr_config")
        given = training.get("optimizer") if isinstance(training, dict) else None
        if self.moved & {"tr_config.initial_lr", "tr_config.weight_decay"} and isinstance(given, dict):
            given.setdefault("name", "SGD")

    def dimension(self) -> None:
        """Write sizes that are one number for all axes as a number an axis."""
        network = self.values.get("model_config")
        if not isinstance(network, dict):
            return
        patch = (self.values.get("tr_config") or {}).get("patch_size")
        ndim = len(patch) if isinstance(patch, list) else 3
        for name in ("kernel_sizes", "strides"):
            sizes = network.get(name)
            if isinstance(sizes, list):
                network[name] = [[size] * ndim if isinstance(size, int) else size for size in sizes]

    def targets(self) -> None:
        """Translate what is said of each target."""
        data = self.values.get("dataset_config")
        if not isinstance(data, dict):
            return
        binarize = data.pop("binarize_labels", None)
        wanted = data.pop("target_value", None)
        targets = data.get("targets")
        for name, target in (targets if isinstance(targets, dict) else {}).items():
            if not isinstance(target, dict):
                continue
            where = f"dataset_config.targets.{name}"
            value = wanted.get(name) if isinstance(wanted, dict) else wanted
            if value is not None:
                target.setdefault("values", [value] if isinstance(value, int) else value)
            for key in ("ignore_label", "ignore_index", "ignore_value"):
                if key in target:
                    target.setdefault("unlabelled", target.pop(key))
            losses = self.losses(target, where)
            if any(loss in OF_CLASSES for loss in losses):
                if "channels" not in target:
                    target.setdefault("out_channels", 2)  # there: background and foreground
                if target.get("kind") is None:
                    target["kind"] = "classes"
            elif binarize and target.get("kind") is None:
                target["kind"] = "binary"

    def tasks(self) -> None:
        """Translate what is said of each auxiliary task."""
        tasks = self.values.get("auxiliary_tasks")
        for name, task in (tasks if isinstance(tasks, dict) else {}).items():
            if isinstance(task, dict):
                if "weight" in task:
                    task.setdefault("loss_weight", task.pop("weight"))
                self.losses(task, f"auxiliary_tasks.{name}")

    def losses(self, owner: dict[str, Any], where: str) -> list[str]:
        """Translate the losses of a target or task, and return their names."""
        single = [key for key in ("loss_fn", "loss") if key in owner]
        if single:
            term = {"name": owner.pop(single[0]), "kwargs": owner.pop("loss_kwargs", None) or {}}
            owner.setdefault("losses", [term])
        names = []
        given = owner.get("losses")
        for index, term in enumerate(given if isinstance(given, list) else []):
            name = str(term.get("name") if isinstance(term, dict) else term)
            names.append(LOSSES.get(name, name))
            if isinstance(term, dict):
                term["name"] = names[-1]
                self.settings(term, owner, f"{where}.losses.{index}")
        if isinstance(given, list):
            owner["losses"] = [t if isinstance(t, dict) else n for t, n in zip(given, names, strict=True)]
        return names

    def settings(self, term: dict[str, Any], owner: Mapping[str, Any], where: str) -> None:
        """Leave out settings of a loss that say what is done here anyway."""
        kwargs = term.get("kwargs")
        if kwargs is None:
            term.pop("kwargs", None)
            return
        if not isinstance(kwargs, dict):
            return
        kwargs.pop("eps", None)  # a guard against division by zero, which the losses here have themselves
        if kwargs.get("dim") == 1:
            del kwargs["dim"]  # the axis of the channels
        if "ignore_index" in kwargs:
            value = kwargs.pop("ignore_index")
            if value not in (None, -100, owner.get("unlabelled")):
                self.faults.append(
                    f"{where}.kwargs.ignore_index: what is not looked at belongs to the target; write "
                    f"unlabelled: {value} there"
                )


_BOTH = {"tr_config.optimizer", "tr_config.scheduler", "inference_config.targets"}
"""Keys that both trainers have, with other values."""


def _is_theirs(values: Mapping[str, Any]) -> bool:
    """Whether an experiment has a key or a loss that only the other trainer knows."""
    sections = {name: keys for name, keys in values.items() if isinstance(keys, Mapping)}
    written = {f"{name}.{key}" for name, keys in sections.items() for key in keys} | set(values)
    data, training = sections.get("dataset_config", {}), sections.get("tr_config", {})
    targets = data.get("targets")
    return (
        bool(written & ({*MOVED, *NEEDLESS, *REFUSED, *_CONVERTED} - _BOTH))
        or "binarize_labels" in data
        or any(isinstance(training.get(key), str) for key in ("optimizer", "scheduler"))
        or any(_target_is_theirs(t) for t in (targets.values() if isinstance(targets, Mapping) else ()))
    )


def _target_is_theirs(target: Any) -> bool:
    if not isinstance(target, Mapping):
        return False
    losses = target.get("losses")
    names = {t.get("name") for t in losses if isinstance(t, Mapping)} if isinstance(losses, list) else set()
    return bool(names & set(LOSSES) or {"ignore_label", "ignore_index", "ignore_value"} & set(target))


def _differs(dotted: str, value: Any) -> bool:
    """Whether the value of a key that both trainers have is written as the other one does."""
    return dotted not in _BOTH or not isinstance(value, Mapping)


Converter = Callable[[_Translation, Any, str], None]


def _table(dotted: str, table: Mapping[str, str]) -> Converter:
    return lambda work, value, origin: work.choose(dotted, table, value, origin)


def _only(allowed: tuple[Any, ...], what: str) -> Converter:
    return lambda work, value, origin: work.fixed(value, origin, allowed, what)


def _stages(work: _Translation, value: Any, origin: str) -> None:
    network = work.values["model_config"]
    features = network.get("features", network.get("features_per_stage"))
    if isinstance(features, list):
        work.fixed(value, origin, (len(features),), f"features_per_stage has {len(features)} stages")
    elif isinstance(value, int) and value > 0:
        work.put("model_config.max_poolings", value - 1, origin)
    else:
        work.faults.append(f"{origin}: {value!r} is not allowed: give a number of at least 1")


def _decoder_blocks(work: _Translation, value: Any, origin: str) -> None:
    each = set(value) if isinstance(value, list) else {value}
    if len(each) == 1:
        work.put("model_config.decoder_blocks", each.pop(), origin)
    else:
        work.faults.append(f"{origin}: {value} differs from stage to stage; here all have the same number")


def _dropout(work: _Translation, value: Any, origin: str) -> None:
    if isinstance(value, Mapping) and value.get("p"):
        work.put("model_config.dropout", value["p"], origin)


def _slope(work: _Translation, value: Any, origin: str) -> None:
    slope = value.get("negative_slope", 0.01) if isinstance(value, Mapping) else 0.01
    work.fixed(float(slope), origin, (0.01,), "the negative slope is 0.01")


def _separate(work: _Translation, value: Any, origin: str) -> None:
    work.put("model_config.decoders", "separate" if value else "shared", origin)


def _dimension(work: _Translation, value: Any, origin: str) -> None:
    digit = next((axes for axes in (2, 3) if f"{axes}d" in str(value).lower()), None)
    if digit is not None:
        work.put("dataset_config.ndim", digit, origin)


def _amp(work: _Translation, value: Any, origin: str) -> None:
    work.put("tr_setup.precision", "auto" if value else "fp32", origin)


def _amp_type(work: _Translation, value: Any, origin: str) -> None:
    types = {"float16": "fp16", "fp16": "fp16", "bfloat16": "bf16", "bf16": "bf16", "float32": "fp32"}
    work.choose("tr_setup.precision", types, value, origin)


def _no_box(work: _Translation, value: Any, origin: str) -> None:
    if value:
        work.put("dataset_config.min_bbox_percent", 0.0, origin)


def _every_patch(work: _Translation, value: Any, origin: str) -> None:
    if value:
        work.values["dataset_config"].update(min_labeled_ratio=0.0, min_bbox_percent=0.0)


def _no_spatial(work: _Translation, value: Any, origin: str) -> None:
    for name in ("flip", "rotate", "scale", "elastic") if value else ():
        work.put(f"dataset_config.augmentation.{name}", 0.0, origin)


def _outputs(work: _Translation, value: Any, origin: str) -> None:
    if value not in (None, "all", ["all"]):
        work.put("inference_config.targets", value, origin)


def _predicted(work: _Translation, value: Any, origin: str) -> None:
    if isinstance(value, list):  # names, or mappings from a name to what the checkpoint knows anyway
        value = [name for item in value for name in (item if isinstance(item, dict) else [item])]
    work.values["inference_config"]["targets"] = value


_UNET = "the network is a residual encoder with plain convolutions in the decoder"
_CONVERTED: dict[str, Converter] = {
    "tr_config.optimizer": _table("tr_config.optimizer.name", {name.lower(): name for name in OPTIMIZERS}),
    "tr_config.scheduler": _table("tr_config.scheduler.name", SCHEDULES),
    "tr_config.use_amp": _amp,
    "tr_config.amp_dtype": _amp_type,
    "model_config.n_stages": _stages,
    "model_config.num_stages": _stages,
    "model_config.n_conv_per_stage_decoder": _decoder_blocks,
    "model_config.conv_op": _dimension,
    "model_config.norm_op": _table("model_config.norm", NORMS),
    "model_config.dropout_op_kwargs": _dropout,
    "model_config.nonlin": _table("model_config.nonlinearity", NONLINEARITIES),
    "model_config.nonlin_kwargs": _slope,
    "model_config.basic_encoder_block": _only(("BasicBlockD",), _UNET),
    "model_config.bottleneck_block": _only(("BasicBlockD",), _UNET),
    "model_config.basic_decoder_block": _only(("ConvBlock",), _UNET),
    "model_config.architecture_type": _only(("unet", None), _UNET),
    "model_config.pool_type": _table("model_config.pooling", POOLINGS),
    "model_config.squeeze_excitation_reduction_ratio": _only((0.0625, 16), "the channels are reduced by 16"),
    "model_config.separate_decoders": _separate,
    "dataset_config.normalization_scheme": _table("dataset_config.normalisation.name", NORMALISATIONS),
    "dataset_config.skip_patch_validation": _every_patch,
    "dataset_config.skip_bounding_box": _no_box,
    "dataset_config.no_spatial": _no_spatial,
    "inference_config.output_targets": _outputs,
    "inference_config.targets": _predicted,
}
"""Keys whose values are written in another way here."""
