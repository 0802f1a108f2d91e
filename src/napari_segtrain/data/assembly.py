"""Puts records together from the specifications of images, labels and masks, and lists what is wrong."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..config import DataError, DatasetConfig, TargetConfig, shapes_differ
from .dataset import Dataset
from .naming import first_names
from .records import Record
from .sources.array import ArraySource
from .sources.opening import open_sources

UNNAMED = ""
"""Key of labels or a mask that belong to an image as a whole, without a target's name."""
UNNAMED_TARGET = "labels"
"""What a target is called whose labels have no name."""


@dataclass
class Item:
    """An image and what belongs to it, before anything is opened.

    Attributes
    ----------
    id
        Name of the image.
    image
        What `open_sources` takes.
    labels, masks
        The same, by the name of the labels or of the target; `UNNAMED` for the image as a whole.
    hints
        Keyword arguments of `open_sources` that this item knows better than the configuration.
    unit
        Unit of the spacing, where the storage does not say.
    """

    id: str
    image: Any
    labels: dict[str, Any] = field(default_factory=dict)
    masks: dict[str, Any] = field(default_factory=dict)
    hints: dict[str, Any] = field(default_factory=dict)
    unit: str | None = None


def assemble(
    items: Sequence[Item],
    config: DatasetConfig,
    *,
    origin: str,
    faults: Sequence[str] = (),
    notes: Sequence[str] = (),
    split_file: Mapping[str, Any] | None = None,
    elsewhere: Collection[str] = (),
) -> Dataset:
    """Open everything lazily; what cannot be used is left out and listed as a fault.

    Parameters
    ----------
    items
        One for each image or stack.
    config
        Targets, dimension, channel axis, level and spacing.
    origin
        Folder or name that messages begin with.
    faults, notes
        What is known to be wrong, or worth knowing, already.
    split_file
        Content of the data folder's ``split.json``.
    elsewhere
        Ids of images that are taken from elsewhere: that theirs cannot be opened is noted only.
    """
    found: list[str] = list(faults)
    remarks: list[str] = list(notes)
    records: dict[str, Record] = {}
    targets = wanted_targets(items, config)
    broken: list[str] = []
    idle: list[str] = []
    for item in items:
        said: list[str] = []
        opened = _records(item, targets, config, said, remarks, idle)
        if opened or item.id not in elsewhere:
            found += said
        else:
            remarks.append(f"{said[0]} The layers of {item.id} are used alone.")
        if not opened:
            broken.append(item.id)
        for record in opened:
            if record.id in records:
                found.append(f"{record.id}: two images have this name. Rename one of them.")
            else:
                records[record.id] = record
    if idle:
        remarks.append(
            f"{origin}: masks of {first_names(idle)} have no labels that they belong to; not used."
        )
    return Dataset(
        origin=origin,
        config=config,
        records=records,
        faults=tuple(found),
        notes=tuple(dict.fromkeys(remarks)),
        split_file=split_file,
        broken=tuple(broken),
        label_names=tuple(sorted({name or UNNAMED_TARGET for item in items for name in item.labels})),
        mask_names=tuple(sorted({name for item in items for name in item.masks if name})),
    )


def wanted_targets(items: Sequence[Item], config: DatasetConfig) -> dict[str, TargetConfig]:
    """Return the configured targets, else one for every label name."""
    if config.targets:
        return dict(config.targets)
    names = sorted({name or UNNAMED_TARGET for item in items for name in item.labels})
    return {name: TargetConfig() for name in names}


def _records(
    item: Item,
    targets: Mapping[str, TargetConfig],
    config: DatasetConfig,
    faults: list[str],
    notes: list[str],
    idle: list[str],
) -> list[Record]:
    options: dict[str, Any] = {
        "ndim": config.ndim,
        "channel_axis": config.channel_axis,
        "level": config.level,
        "spacing": config.spacing,
    }
    for name, value in item.hints.items():
        if value is not None and (name in ("channel_axis", "level") or options[name] is None):
            options[name] = value
    try:
        images = open_sources(item.image, **options, cache=True)
    except DataError as error:
        faults.append(_prefixed(item.id, item.image, error))
        return []
    for image in images:
        if item.unit is not None:
            image.unit = item.unit
    notes.extend(images[0].notes)
    opener = _Opener(item, images, options)
    labels: dict[str, list[ArraySource]] = {}
    masks: dict[str, list[ArraySource]] = {}
    wanted: set[str] = set()
    for target, target_config in targets.items():
        name = target_config.labels or target
        spec = _labels_of(item, name, alone=len(targets) == 1)
        if spec is None:
            continue
        opened = opener.open(("labels", name), spec, faults)
        if opened is not None:
            labels[target] = opened
        mask_name, mask = _mask_of(item, target, name, target_config.mask)
        wanted |= {mask_name, *({target, name, UNNAMED} if target_config.mask is None else ())}
        opened = opener.open(("mask", mask_name), mask, faults) if mask is not None else None
        if opened is not None:
            masks[target] = opened
    idle.extend(f"{item.id} ({name})" if name else item.id for name in sorted(set(item.masks) - wanted))
    return [
        Record(
            id=item.id if len(images) == 1 else f"{item.id}[{_place(image)}]",
            image=image,
            labels={name: sources[k] for name, sources in labels.items()},
            masks={name: sources[k] for name, sources in masks.items()},
            group=item.id,
        )
        for k, image in enumerate(images)
    ]


class _Opener:
    """Opens the labels and masks of one image, each once, however many targets read it."""

    def __init__(self, item: Item, images: list[ArraySource], options: Mapping[str, Any]) -> None:
        self._item, self._images, self._options = item, images, options
        self._opened: dict[tuple[str, str], list[ArraySource] | None] = {}

    def open(self, key: tuple[str, str], spec: Any, faults: list[str]) -> list[ArraySource] | None:
        if key not in self._opened:
            self._opened[key] = self._open(key, spec, faults)
        return self._opened[key]

    def _open(self, key: tuple[str, str], spec: Any, faults: list[str]) -> list[ArraySource] | None:
        kind, name = key
        title = f"{kind} {name!r}" if name else kind
        dimension, level = len(self._images[0].shape), self._options["level"]
        # Planes of a chunked volume share chunks; without the cache each would decode all of them again.
        stacked = len(self._images) > 1
        try:
            opened = _at_level(
                lambda at: open_sources(
                    spec, ndim=dimension, level=at, labels=True, like=self._images, cache=stacked
                ),
                level,
            )
        except DataError as error:
            faults.append(_prefixed(f"{self._item.id}, {title}", spec, error))
            return None
        image, first = self._images[0], opened[0]
        if (len(opened), first.shape) != (len(self._images), image.shape):
            given, wanted = (*first.stack, *first.shape), (*image.stack, *image.shape)
            faults.append(shapes_differ(title, given, self._item.id, wanted))
            return None
        return opened


def _at_level(opening: Callable[[int], list[ArraySource]], level: int) -> list[ArraySource]:
    """Open labels at the level of the image, or as they are when they have no levels."""
    try:
        return opening(level)
    except DataError:
        if level == 0:
            raise
        return opening(0)


def _labels_of(item: Item, name: str, *, alone: bool) -> Any:
    if name in item.labels:
        return item.labels[name]
    return item.labels.get(UNNAMED) if alone or name == UNNAMED_TARGET else None


def _mask_of(item: Item, target: str, labels: str, mask: str | None) -> tuple[str, Any]:
    for name in (mask,) if mask is not None else (target, labels, UNNAMED):
        if name is not None and name in item.masks:
            return name, item.masks[name]
    return UNNAMED, None


def _place(image: ArraySource) -> str:
    return ",".join(map(str, image.position))


def _prefixed(name: str, spec: Any, error: DataError) -> str:
    """Name the layer that an error is about; what is said of a file begins with its path already."""
    return str(error) if isinstance(spec, str | Path) else f"{name}: {error}"
