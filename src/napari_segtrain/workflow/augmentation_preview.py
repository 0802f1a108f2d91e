"""What augmentation makes of a patch: the patch, and draws of it as training sees them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from napari_segtrain.config import ConfigError, DataError, ExperimentConfig
from napari_segtrain.data import Dataset, Normalisation, PatchSpec, Region
from napari_segtrain.data.augmentation import describe
from napari_segtrain.data.index_rules import IndexRules
from napari_segtrain.data.loader import augmenters
from napari_segtrain.data.patch_reader import PatchReader
from napari_segtrain.data.sampling import sample_stream
from napari_segtrain.runs import AugmentationReady, PreviewHint
from napari_segtrain.runs.scratch import Scratch
from napari_segtrain.training import ResolvedExperiment, planned_split, resolve

from .run_data import DataSpec
from .target_preview import index_of, labelled_record, looked_at, open_labelled, whole

MOST = 64
"""Draws that are made at most."""
_NEAR = 2
"""Patches around what is looked at that are searched for labels first."""


@dataclass(frozen=True)
class AugmentedPatch:
    """One draw.

    Attributes
    ----------
    image
        ``(C, *patch)`` float32, normalised: what the network gets.
    labels
        By target, ``(*patch)``, or ``(C, *patch)`` where there are several channels; 0 where the loss does
        not look because of a mask, or because nothing is there.
    masks
        By target, ``(*patch)`` bool: False there.
    words
        What was done, a few words for each change; empty for the patch as it is.
    """

    image: npt.NDArray[np.float32]
    labels: dict[str, npt.NDArray[Any]]
    masks: dict[str, npt.NDArray[np.bool_]]
    words: tuple[str, ...] = ()


@dataclass(frozen=True)
class AugmentationPreview:
    """A patch and what augmentation makes of it.

    Attributes
    ----------
    record
        Id of the image.
    start, stop
        Bounds of the patch in voxels of the image; outside of it where the image is smaller.
    spacing, unit
        Size of a voxel in array order.
    patches
        The patch as it is, then the draws.
    """

    record: str
    start: tuple[int, ...]
    stop: tuple[int, ...]
    spacing: tuple[float, ...]
    unit: str
    patches: tuple[AugmentedPatch, ...]


def preview_augmentation(
    config: ExperimentConfig,
    data: DataSpec,
    *,
    number: int = 8,
    seed: int | None = None,
    image: str | None = None,
    hint: PreviewHint | None = None,
) -> AugmentationPreview:
    """Read a patch and augment it as training would, each time with another draw.

    Parameters
    ----------
    config
        The experiment. Without targets, those that are found in the data count.
    data
        Where images and labels are.
    number
        How many draws, 1 to 64.
    seed
        Another seed gives other draws; by default the run's.
    image
        Name of an image; by default the one with the most labelled patch.
    hint
        What a user looks at, instead of `image`: the labelled patch nearest to it is taken.

    Raises
    ------
    ConfigError, DataError
        When augmentation is off, configuration or data cannot work, there is no such image, or nothing is
        labelled.
    """
    if not 1 <= number <= MOST:
        raise ConfigError(f"{number} augmented patches were asked for; 1 to {MOST} can be shown")
    if seed is not None and seed < 0:
        raise ConfigError(f"the seed {seed} is below 0; take 0 or more")
    augmentation = config.dataset_config.augmentation
    if not augmentation.enabled or augmentation.strength == 0:
        raise ConfigError(
            "augmentation is off, so that there is nothing to show: set dataset_config.augmentation.enabled, "
            "and a strength above 0"
        )
    config, dataset = open_labelled(config, data)
    resolved = resolve(config, dataset)
    spec, rules = _choose(dataset, config, resolved, image, hint)
    split = planned_split(config, dataset, resolved)
    fitted = Normalisation.fit(config.dataset_config.normalisation, dataset, split)
    seed = config.tr_setup.seed if seed is None else seed
    plain = PatchReader(dataset, rules, fitted)
    changing = PatchReader(dataset, rules, fitted, augmenters(config, resolved.patch_size))
    patches = [_show(plain, spec, sample_stream(seed, 0, 0))]
    patches += [_show(changing, spec, sample_stream(seed, 0, draw)) for draw in range(number)]
    record = dataset.records[spec.record]
    return AugmentationPreview(
        record.id, spec.start, spec.stop, record.spacing, record.image.unit, tuple(patches)
    )


def _choose(
    dataset: Dataset,
    config: ExperimentConfig,
    resolved: ResolvedExperiment,
    image: str | None,
    hint: PreviewHint | None,
) -> tuple[PatchSpec, IndexRules]:
    """Return the patch, and the rules that say what of it is labelled."""
    if hint is None:
        records = dataset.labelled_records() if image is None else [labelled_record(dataset, image)]
        index = index_of(dataset, [whole(record) for record in records], config, resolved)
        return index.fullest(), index.rules
    record, start, stop = looked_at(dataset, hint)
    middle = [(a + b) / 2 for a, b in zip(start, stop, strict=True)]
    everywhere = whole(record)
    try:
        # Volumes may take minutes to go through, and most of the time there are labels close by.
        index = index_of(dataset, [_around(everywhere, middle, resolved.patch_size)], config, resolved)
    except DataError:
        index = index_of(dataset, [everywhere], config, resolved)
    nearest = index.positions.nearest(middle)
    return replace(nearest, region=everywhere), index.rules


def _around(region: Region, middle: Sequence[float], patch: tuple[int, ...]) -> Region:
    """Return the part of a region that lies within a few patches of a point."""
    start = [max(0, int(m) - _NEAR * p) for m, p in zip(middle, patch, strict=True)]
    ends = zip(middle, patch, region.stop, strict=True)
    return Region(region.record, tuple(start), tuple(min(n, int(m) + _NEAR * p) for m, p, n in ends))


def _show(reader: PatchReader, spec: PatchSpec, random: np.random.Generator) -> AugmentedPatch:
    patch = reader.read(spec, random)
    masks = {name: np.asarray(mask, bool) for name, mask in patch.masks.items()}
    labels = {
        name: np.where(masks[name], array, 0).astype(array.dtype) for name, array in patch.labels.items()
    }
    words = () if patch.changes is None else describe(patch.changes)
    return AugmentedPatch(patch.image, labels, masks, words)


def write_augmentation_preview(preview: AugmentationPreview, folder: str | Path) -> list[Path]:
    """Write the patches as TIFF files and a picture of all of them.

    Parameters
    ----------
    preview
        What `preview_augmentation` returned.
    folder
        Made when absent.

    Returns
    -------
    list of Path
        ``<image>_augmentation.png``; then for ``<patch>`` in ``original``, ``augmented1``, … an
        ``<image>_<patch>_image.tif`` ``(C, *patch)`` float32, and for every target
        ``<image>_<patch>_<target>.tif`` and ``<image>_<patch>_<target>_mask.tif``. OME-TIFF with the
        image's spacing.

    Raises
    ------
    RunError
        When the folder cannot be written.
    """
    from napari_segtrain.inference import write_tiff

    from .augmentation_sheet import draw_augmentation

    begin = str(Path(folder) / preview.record.replace("/", "_"))
    paths = [Path(f"{begin}_augmentation.png")]
    draw_augmentation(preview, paths[0])
    ndim = len(preview.spacing)
    for number, patch in enumerate(preview.patches):
        name = f"{begin}_augmented{number}" if number else f"{begin}_original"
        arrays: dict[str, npt.NDArray[Any]] = {"image": patch.image}
        for target, labels in patch.labels.items():
            arrays[target] = _compact(labels)
            arrays[f"{target}_mask"] = patch.masks[target].astype(np.uint8)
        for what, array in arrays.items():
            paths.append(Path(f"{name}_{what}.tif"))
            channels = array if array.ndim > ndim else array[np.newaxis]
            write_tiff(paths[-1], channels, preview.spacing, preview.unit)
    return paths


def _compact(labels: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return labels in a type that TIFF readers know: float32, or the smallest whole numbers that do."""
    if labels.dtype.kind == "f":
        return labels.astype(np.float32)
    low, high = int(labels.min()), int(labels.max())
    for kind in (np.uint8, np.uint16, np.int32):
        if np.iinfo(kind).min <= low and high <= np.iinfo(kind).max:
            return labels.astype(kind)
    return labels.astype(np.float64)


def share_augmentation_preview(preview: AugmentationPreview, folder: str | Path) -> AugmentationReady:
    """Write the patches where another process can map them, and return the event that says so.

    Raises
    ------
    RunError
        When the folder cannot be written.
    """
    scratch = Scratch(Path(folder))
    image = scratch.add("image", np.stack([patch.image for patch in preview.patches]), 1)
    return AugmentationReady(
        record=preview.record,
        start=preview.start,
        stop=preview.stop,
        image=image,
        labels={
            target: scratch.add(f"labels{number}", _stacked(preview.patches, target))
            for number, target in enumerate(preview.patches[0].labels)
        },
        words=tuple(patch.words for patch in preview.patches),
    )


def _stacked(patches: Sequence[AugmentedPatch], target: str) -> npt.NDArray[Any]:
    return np.stack([patch.labels[target] for patch in patches])
