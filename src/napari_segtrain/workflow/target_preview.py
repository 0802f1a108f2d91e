"""What a network would learn from the labels: the targets of a region, before any training."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from napari_segtrain.config import ConfigError, DataError, ExperimentConfig, did_you_mean
from napari_segtrain.data import Dataset, PatchIndex, Record, Region
from napari_segtrain.runs import PreviewHint, TargetsReady
from napari_segtrain.runs.scratch import Scratch
from napari_segtrain.targets import Head
from napari_segtrain.training import ResolvedExperiment, complete_targets, resolve

from .preview import image_layers
from .run_data import DataSpec, open_data
from .truth import read_labels, region_deriver

MOST_VOXELS = 2**24
"""A region with more voxels is cut down, or refused where it was asked for."""

Bounds = Sequence[tuple[int, int]]


@dataclass(frozen=True)
class DerivedTarget:
    """The target of one head in a region.

    Attributes
    ----------
    head
        What is learned.
    values
        ``(C, *spatial)`` float32, or ``(1, *spatial)`` class numbers.
    valid
        ``(*spatial)``, where the loss looks.
    """

    head: Head
    values: npt.NDArray[Any]
    valid: npt.NDArray[np.bool_]


@dataclass(frozen=True)
class TargetPreview:
    """The targets of all heads in a region of an image.

    Attributes
    ----------
    region
        Where.
    image
        ``(C, *spatial)``, as it is stored.
    spacing, unit
        Size of a voxel in array order.
    targets
        In the order of the heads; without those of targets that the image has no labels of.
    """

    region: Region
    image: npt.NDArray[Any]
    spacing: tuple[float, ...]
    unit: str
    targets: tuple[DerivedTarget, ...]


def preview_targets(
    config: ExperimentConfig,
    data: DataSpec,
    *,
    image: str | None = None,
    region: Bounds | None = None,
    hint: PreviewHint | None = None,
) -> TargetPreview:
    """Derive the targets of a region as training would, without augmentation.

    Parameters
    ----------
    config
        The experiment. Without targets, those that are found in the data count.
    data
        Where images and labels are.
    image
        Name of an image; by default the one with the most labelled patch.
    region
        Start and stop along each spatial axis; by default the most labelled patch, of several that with the
        most foreground.
    hint
        What a user looks at, instead of `image` and `region`. It is grown to the size of a patch, since
        targets need to see what is around, and cut down around its middle to what takes seconds.

    Raises
    ------
    ConfigError, DataError
        When configuration or data cannot work, there is no such image or region, or nothing is labelled.
    """
    config, dataset = open_labelled(config, data)
    resolved = resolve(config, dataset)
    if hint is not None:
        chosen = _looked_at(dataset, hint, resolved.patch_size)
    elif region is not None:
        chosen = _asked_for(labelled_record(dataset, image), region)
    else:
        chosen = _most_labelled(dataset, image, config, resolved)
    return _derive(dataset.records[chosen.record], chosen, config, resolved)


def open_labelled(config: ExperimentConfig, data: DataSpec) -> tuple[ExperimentConfig, Dataset]:
    """Return the experiment with its targets and the data, or say that nothing is labelled."""
    dataset = open_data(data, config)
    config = complete_targets(config, dataset)
    if not dataset.labelled_records():
        faults = [*dataset.faults, "no image has labels of a target; paint some, or check the target's name"]
        raise DataError.listing(faults, dataset.origin)
    return config, dataset


def whole(record: Record) -> Region:
    """Return all of an image as a region."""
    return Region(record.id, (0,) * record.ndim, record.shape)


def index_of(
    dataset: Dataset, regions: Sequence[Region], config: ExperimentConfig, resolved: ResolvedExperiment
) -> PatchIndex:
    """Count where in these regions patches have labels, as training counts them."""
    return PatchIndex.build(
        dataset,
        regions,
        resolved.patch_size,
        config.dataset_config,
        facts=resolved.facts,
        foreground_only=config.tr_config.loss_on_label_only,
    )


def _derive(
    record: Record, region: Region, config: ExperimentConfig, resolved: ResolvedExperiment
) -> TargetPreview:
    labels, masks = read_labels(record, region)
    heads = [head for head in resolved.heads if head.target in labels]
    derived = region_deriver(config, resolved, heads)(labels, masks, record.spacing)
    targets = tuple(
        DerivedTarget(head, derived[head.name], derived[f"{head.name}_mask"][0]) for head in heads
    )
    pixels = record.image.read(region.slices)
    return TargetPreview(region, pixels, record.spacing, record.image.unit, targets)


def labelled_record(dataset: Dataset, image: str | None) -> Record:
    """Return the record of a name, or the only one that has labels."""
    labelled = {record.id: record for record in dataset.labelled_records()}
    if image is None:
        if len(labelled) == 1:
            return next(iter(labelled.values()))
        raise ConfigError(f"a region is in one of {len(labelled)} images: say which. {_names(labelled)}")
    if image not in labelled:
        reason = "has no labels" if image in dataset.records else "is not an image of this data"
        raise ConfigError(f"{image!r} {reason}. {did_you_mean(image, labelled)}")
    return labelled[image]


def _names(labelled: dict[str, Record]) -> str:
    shown = list(labelled)[:8]
    return f"There are {', '.join(shown)}{' …' if len(labelled) > len(shown) else ''}"


def _asked_for(record: Record, bounds: Bounds) -> Region:
    shape = record.shape
    size = "×".join(map(str, shape))
    if len(bounds) != len(shape):
        raise ConfigError(
            f"the region has {len(bounds)} axes, but the image {record.id} of {size} voxels has "
            f"{len(shape)}: give start:stop for each, in array order {'z,y,x' if len(shape) == 3 else 'y,x'}"
        )
    for (start, stop), length in zip(bounds, shape, strict=True):
        if not 0 <= start < stop <= length:
            raise ConfigError(
                f"the region {start}:{stop} does not lie in the image {record.id} of {size} voxels: give "
                f"0 ≤ start < stop ≤ {length} along this axis"
            )
    region = Region(record.id, tuple(a for a, _ in bounds), tuple(b for _, b in bounds))
    if math.prod(region.shape) > MOST_VOXELS:
        raise ConfigError(
            f"the region has {math.prod(region.shape) / 1e6:.0f} million voxels; a preview takes up to "
            f"{MOST_VOXELS / 1e6:.0f} million: choose a smaller one"
        )
    return region


def _most_labelled(
    dataset: Dataset, image: str | None, config: ExperimentConfig, resolved: ResolvedExperiment
) -> Region:
    records = dataset.labelled_records() if image is None else [labelled_record(dataset, image)]
    spec = index_of(dataset, [whole(record) for record in records], config, resolved).fullest()
    shape = dataset.records[spec.record].shape
    start = tuple(max(a, 0) for a in spec.start)
    return Region(spec.record, start, tuple(min(b, n) for b, n in zip(spec.stop, shape, strict=True)))


def looked_at(dataset: Dataset, hint: PreviewHint) -> tuple[Record, tuple[int, ...], tuple[int, ...]]:
    """Return the image that is looked at, of a stack the one of it, and bounds on the spatial axes."""
    layer = image_layers(dataset).get(hint.record)
    if layer is None:
        raise DataError(f"the image {hint.record!r} has no labels of a target; choose another, or paint some")
    if layer.stacked:
        middle = (hint.start[0] + hint.stop[0]) // 2
        return layer.records[min(middle, len(layer.records) - 1)], hint.start[1:], hint.stop[1:]
    return layer.records[0], hint.start, hint.stop


def _looked_at(dataset: Dataset, hint: PreviewHint, patch: tuple[int, ...]) -> Region:
    """Return the region of what is looked at, not smaller than a patch and not too large."""
    record, start, stop = looked_at(dataset, hint)
    size = [max(b - a, n) for a, b, n in zip(start, stop, patch, strict=True)]
    size = [min(n, length) for n, length in zip(size, record.shape, strict=True)]
    while math.prod(size) > MOST_VOXELS:
        # The axis that exceeds a patch most is cut down first.
        axis = max(range(len(size)), key=lambda a: size[a] / patch[a])
        size[axis] = max(1, size[axis] // 2)
    first = [
        min(max((a + b) // 2 - n // 2, 0), length - n)
        for a, b, n, length in zip(start, stop, size, record.shape, strict=True)
    ]
    return Region(record.id, tuple(first), tuple(a + n for a, n in zip(first, size, strict=True)))


def write_target_preview(preview: TargetPreview, folder: str | Path) -> list[Path]:
    """Write the targets as TIFF files and a picture of all of them.

    Parameters
    ----------
    preview
        What `preview_targets` returned.
    folder
        Made when absent.

    Returns
    -------
    list of Path
        ``<image>_overview.png``; ``<image>_<head>.tif`` ``(C, *spatial)`` and ``<image>_<head>_mask.tif``,
        1 where the loss looks, for every head; ``<image>_image.tif``. OME-TIFF with the image's spacing.

    Raises
    ------
    RunError
        When the folder cannot be written.
    """
    from napari_segtrain.inference import write_tiff

    from .overview import draw_overview

    begin = str(Path(folder) / preview.region.record.replace("/", "_"))
    arrays: dict[str, npt.NDArray[Any]] = {"image": preview.image}
    for target in preview.targets:
        numbers = target.values.dtype == np.int64  # class numbers, which are small
        arrays[target.head.name] = target.values.astype(np.uint16) if numbers else target.values
        arrays[f"{target.head.name}_mask"] = target.valid[np.newaxis].astype(np.uint8)
    paths = [Path(f"{begin}_overview.png")]
    draw_overview(preview, paths[0])
    for name, array in arrays.items():
        paths.append(Path(f"{begin}_{name}.tif"))
        write_tiff(paths[-1], array, preview.spacing, preview.unit)
    return paths


def share_target_preview(preview: TargetPreview, folder: str | Path) -> TargetsReady:
    """Write the targets where another process can map them, and return the event that says so.

    Raises
    ------
    RunError
        When the folder cannot be written.
    """
    scratch = Scratch(Path(folder))
    values, valid = {}, {}
    for number, target in enumerate(preview.targets):
        values[target.head.name] = scratch.add(f"{number}", target.values, 0)
        valid[target.head.name] = scratch.add(f"{number}_mask", target.valid)
    return TargetsReady(
        record=preview.region.record,
        start=preview.region.start,
        stop=preview.region.stop,
        spacing=preview.spacing,
        heads={target.head.name: target.head.to_dict() for target in preview.targets},
        values=values,
        valid=valid,
    )
