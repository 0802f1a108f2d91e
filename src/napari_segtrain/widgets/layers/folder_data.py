"""A data folder that is trained on, with open images beside its files or in the place of some."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from ...config import DataError, DatasetConfig, SegtrainError
from ...data.records import Record
from .data_spec import Chosen, TrainedImage, TrainingData, image_data, training_data


def folder_data(
    folder: Path,
    known: Mapping[str, list[Record]],
    ticked: Sequence[Any],
    images: Sequence[Any],
    config: DatasetConfig,
    all_layers: Sequence[Any],
) -> TrainingData:
    """Describe a data folder, and open images that are trained on with it.

    Parameters
    ----------
    folder
        The folder.
    known
        The records of each of its images by its name.
    ticked
        Image layers to train on too. Their labels and masks are told by name; one without labels that is
        called as an image of the folder is trained on by its files.
    images
        Image layers that previews may be shown on.
    config
        Section `dataset_config`.
    all_layers
        Layers of the viewer.

    Raises
    ------
    DataError
        When a layer that is not in the folder has no labels, or a shape does not fit.
    """
    config = config.replace(channel_axis=None)  # the layers say themselves what their axes are
    names = [image.name for image in ticked]
    shown = _shown(known, [image for image in images if image.name not in names], config)
    chosen = {target: _named(target, ticked, config, all_layers) for target in config.targets}
    painted = [image for image in ticked if any(one.get((image, False)) for one in chosen.values())]
    bare = [name for name in names if name not in known and name not in {image.name for image in painted}]
    if bare:
        example = f"{bare[0]}_{next(iter(config.targets), 'labels')}"
        raise DataError(
            f"{', '.join(map(repr, bare))}: ticked to be trained on beside the folder, but no layer of "
            f"labels is called after it, such as {example!r}; rename the labels layer, or untick the image"
        )
    if not painted:
        return TrainingData(spec=str(folder), images=shown)
    first = {
        target: next(layer for (_, mask), layer in found.items() if layer is not None and not mask)
        for target, found in chosen.items()
        if any(layer is not None for (_, mask), layer in found.items() if not mask)
    }
    data = training_data(
        painted,
        {target: (layer, None) for target, layer in first.items()},
        config,
        all_layers=all_layers,
        chosen={target: chosen[target] for target in first},
    )
    data.spec = {"folder": str(folder.resolve()), "layers": data.layers}
    data.images = {**shown, **data.images}
    return data


def labels_beside(
    ticked: Sequence[Any], config: DatasetConfig, all_layers: Sequence[Any]
) -> dict[str, list[str]]:
    """Return the names of the layers with the labels of each open image, by the image's name."""
    found = {
        image.name: [
            layer.name
            for target in config.targets
            if (layer := _named(target, [image], config, all_layers)[image, False]) is not None
        ]
        for image in ticked
    }
    return {name: list(dict.fromkeys(layers)) for name, layers in found.items()}


def _named(target: str, images: Sequence[Any], config: DatasetConfig, all_layers: Sequence[Any]) -> Chosen:
    """Return the layers that hold a target's labels and its mask for each image, None where there is none."""
    settings = config.targets[target]
    labels, mask = settings.labels or target, settings.mask or target
    layers = {layer.name: layer for layer in all_layers}
    found: Chosen = {}
    for image in images:
        for is_mask, endings in ((False, (labels, target)), (True, (f"{mask}_mask", "mask"))):
            called = [layers[name] for end in endings if (name := f"{image.name}_{end}") in layers]
            found[image, is_mask] = called[0] if called else None
    return found


def _shown(
    known: Mapping[str, list[Record]], layers: Sequence[Any], config: DatasetConfig
) -> dict[str, TrainedImage]:
    """Return the images of the folder that are open in the shape of their files, for previews."""
    images: dict[str, TrainedImage] = {}
    for layer in layers:
        records: Collection[Record] = known.get(layer.name, ())
        if not records or layer.name in images:
            continue
        with suppress(SegtrainError):
            image = image_data(layer, config).images[layer.name]
            sizes = tuple(image.shape[axis] for axis in image.counted)
            stack = (len(records),) if len(records) > 1 else ()
            if sizes == (*stack, *next(iter(records)).shape):
                images[layer.name] = image
    return images
