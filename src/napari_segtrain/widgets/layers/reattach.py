"""Finding the open layers that a run was trained on, to go on with them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...config import DataError, DatasetConfig, TargetConfig
from .axes import Copies
from .data_spec import Chosen, TrainedImage, TrainingData, image_data, training_data
from .kept_labels import stand_ins


@dataclass(frozen=True)
class Reattached:
    """What a resumed run is trained on.

    Attributes
    ----------
    data
        With a `spec` of open layers, or without one: then with the open images alone, for previews.
    words
        Which of the two, and why, to follow the run's name.
    """

    data: TrainingData
    words: str


def reattach(
    stored: Any,
    config: DatasetConfig,
    layers: Sequence[Any],
    *,
    copies: bool = True,
    run: Path | None = None,
    instead: Mapping[str, Any] | None = None,
) -> Reattached:
    """Choose what a run goes on with: open layers of the same names and shapes, else what it has stored.

    Where no layer has the name, one does that was opened as the labels that the run has kept of it.

    Parameters
    ----------
    stored
        Where the run's data is, as `read_data` returns it.
    config
        Section `dataset_config` of the run.
    layers
        Layers of the viewer.
    copies
        Whether the run still has copies of its layers; a completed one has none.
    run
        The run folder, for labels that were opened from it; None where these do not count.
    instead
        Layers that were chosen for a name, whatever they are called.

    Raises
    ------
    DataError
        When the layers are not open and there are no copies.
    """
    entries = stored.get("layers", ()) if isinstance(stored, Mapping) else ()
    if not entries:
        return Reattached(TrainingData(spec=None), f"goes on with its data in {stored}")
    named = {**stand_ins(layers, run), **{layer.name: layer for layer in layers}, **(instead or {})}
    try:
        data = _attached(entries, config, named)
    except DataError as error:
        if not copies:
            raise DataError(
                f"{error}. The run was trained on open layers, and keeps no copies of them once it is "
                "completed: open them under the names that they had"
            ) from None
        images = _images(entries, config, named)
        words = f"goes on with the copies of its layers, with the labels it had: {error}"
        if not images:
            words += f". Open {entries[0]['id']!r} before you resume to see live previews"
        return Reattached(TrainingData(spec=None, images=images), words)
    names = ", ".join(dict.fromkeys(_told(mirror.layer, named) for mirror in data.mirrors))
    folder = f"its folder {stored['folder']} and " if "folder" in stored else ""
    if folder:
        data.spec = {"folder": stored["folder"], "layers": data.layers}
    return Reattached(data, f"goes on with {folder}the open layers and the labels as they are now in {names}")


def folder_of(stored: Any) -> str | None:
    """Return the data folder that a run is trained on, with layers or without; None where it is on none."""
    folder = stored.get("folder") if isinstance(stored, Mapping) else stored
    return None if folder is None else str(folder)


def _attached(
    entries: Sequence[Mapping[str, Any]], config: DatasetConfig, named: Mapping[str, Any]
) -> TrainingData:
    """Return the open layers as a data set; raises `DataError` when one is not what the run had."""
    images = [_image(entry, config, named).layer for entry in entries]
    targets = {
        name: (
            _layer_of(entries, "labels", target.labels or name, named),
            _layer_of(entries, "masks", target.mask or name, named),
        )
        for name, target in config.targets.items()
        if any((target.labels or name) in entry["labels"] for entry in entries)  # others are files alone
    }
    chosen = {name: _chosen(entries, images, name, config.targets[name], named) for name in targets}
    data = training_data(
        images, targets, config, all_layers=list(named.values()), chosen=chosen if len(images) > 1 else {}
    )
    for entry, new in zip(entries, data.layers, strict=True):
        for kind in ("labels", "masks"):
            if set(entry[kind]) != set(new[kind]):
                raise DataError(f"the {kind} of {entry['id']!r} are on other layers now")
            for key, spec in entry[kind].items():
                layer = named[spec["name"]]
                if spec["name"] != layer.name == new[kind][key]["name"]:
                    new[kind][key]["name"] = spec["name"]  # so that the run knows its own layer again, too
                else:
                    _check(spec, new[kind][key], data.copies)
    return data


def _told(layer: Any, named: Mapping[str, Any]) -> str:
    """Return the name of a layer, and what it stands for where that is another name."""
    names = [name for name, found in named.items() if found is layer and name != layer.name]
    return f"{layer.name!r}, which stands for {names[0]!r}" if names else repr(layer.name)


def _chosen(
    entries: Sequence[Mapping[str, Any]],
    images: Sequence[Any],
    name: str,
    target: TargetConfig,
    named: Mapping[str, Any],
) -> Chosen:
    """Return the layers that a target was learned from, and their masks, for every image."""
    found: Chosen = {}
    for entry, image in zip(entries, images, strict=True):
        for kind, key in (("labels", target.labels or name), ("masks", target.mask or name)):
            spec = entry[kind].get(key)
            found[image, kind == "masks"] = None if spec is None else _layer(spec["name"], named)
    return found


def _layer_of(
    entries: Sequence[Mapping[str, Any]], kind: str, key: str, named: Mapping[str, Any]
) -> Any | None:
    """Return the first layer that a target was learned from, or its mask; None when it had none."""
    names = [entry[kind][key]["name"] for entry in entries if key in entry[kind]]
    return _layer(names[0], named) if names else None


def _images(
    entries: Sequence[Mapping[str, Any]], config: DatasetConfig, named: Mapping[str, Any]
) -> dict[str, TrainedImage]:
    """Return those of the run's images that are open."""
    found: dict[str, TrainedImage] = {}
    for entry in entries:
        with suppress(DataError):
            found[entry["id"]] = _image(entry, config, named)
    return found


def _image(entry: Mapping[str, Any], config: DatasetConfig, named: Mapping[str, Any]) -> TrainedImage:
    """Return the open image of a name, when it is what the run had; raises `DataError`."""
    data = image_data(_layer(entry["id"], named), config)
    _check(entry["image"], data.layers[0]["image"], data.copies)
    return data.images[entry["id"]]


def _layer(name: str, named: Mapping[str, Any]) -> Any:
    if name not in named:
        raise DataError(f"layer {name!r} is not open")
    return named[name]


def _check(old: Mapping[str, Any], new: Mapping[str, Any], copies: Copies) -> None:
    if old["name"] != new["name"]:
        raise DataError(f"layer {new['name']!r} stands where {old['name']!r} did")
    before, now = _place(old, copies), _place(new, copies)
    if before != now or old["axes"] != new["axes"]:
        raise DataError(f"layer {new['name']!r} is {_text(now)} now, and was {_text(before)}")


def _place(spec: Mapping[str, Any], copies: Copies) -> tuple[int, ...] | str:
    """Return the shape of an array, or the place of one that is read where it lies."""
    shape = next((copy.shape for copy in copies.items if copy.spec is spec), spec.get("shape"))
    return str(Path(spec["path"]).resolve()) if shape is None else tuple(int(size) for size in shape)


def _text(place: tuple[int, ...] | str) -> str:
    return place if isinstance(place, str) else "of shape " + " × ".join(map(str, place))
