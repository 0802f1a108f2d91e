"""One patch before targets are derived: read, normalised, augmented."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from .dataset import Dataset
from .index_rules import IndexRules
from .normalisation import Normalisation, check_finite
from .patches import Crop, PatchSpec
from .records import Record
from .sources.base import Source

if TYPE_CHECKING:
    from torch import Tensor

Arrays = dict[str, NDArray[Any]]


class ImageChange(Protocol):
    """Changes an image, and nothing else of a patch; see `augmentation.IntensityChange`."""

    def on_tensor(self, image: Tensor) -> Tensor:
        """Return ``(C, *patch)`` float32 on the same device."""
        ...


class Augmenting(Protocol):
    """Changes a patch at random; see `augmentation.Augmenter`."""

    def draw(self, rng: np.random.Generator, channels: int) -> Any:
        """Return what happens to one patch."""
        ...

    def source_size(self, params: Any) -> tuple[int, ...]:
        """Return the size of the crop that a draw needs; the patch is in its middle."""
        ...

    def apply(
        self,
        params: Any,
        image: NDArray[np.float32],
        labels: Mapping[str, NDArray[Any]],
        masks: Mapping[str, NDArray[Any]],
    ) -> tuple[NDArray[np.float32], Arrays, Arrays]:
        """Map a crop ``(C, *source)`` to a patch ``(C, *patch)``, labels and masks in step."""
        ...

    def move(
        self,
        params: Any,
        image: NDArray[np.float32],
        labels: Mapping[str, NDArray[Any]],
        masks: Mapping[str, NDArray[Any]],
    ) -> tuple[NDArray[np.float32], Arrays, Arrays]:
        """Do of `apply` what moves voxels."""
        ...

    def intensities(self, params: Any) -> ImageChange:
        """Return the rest of `apply`, which changes the image alone."""
        ...


@dataclass(frozen=True)
class Patch:
    """What targets are derived from.

    Attributes
    ----------
    image
        ``(C, *patch)`` float32, normalised.
    labels, masks
        By target, ``(*patch)`` or ``(C, *patch)``; masks are bool, True where the labels count.
    changes
        What the augmenter drew; None without one.
    pending
        What is still to be done to the image; None when it is finished.
    """

    image: NDArray[np.float32]
    labels: Arrays
    masks: Arrays
    changes: Any = None
    pending: ImageChange | None = None


class PatchReader:
    """Reads patches and changes them at random.

    Parameters
    ----------
    dataset
        Where the records are.
    rules
        The targets and what of them is labelled.
    normalisation
        Fitted on the training data.
    augmenter
        Called with a spacing; returns what changes patches of images with it. None: patches stay as
        they are.
    """

    def __init__(
        self,
        dataset: Dataset,
        rules: IndexRules,
        normalisation: Normalisation,
        augmenter: Callable[[tuple[float, ...]], Augmenting] | None = None,
    ) -> None:
        self._dataset = dataset
        self._rules = rules
        self._normalisation = normalisation
        self._augmenter = augmenter
        self._blank = {name: _blank(dataset, name) for name in rules.targets}

    def read(self, spec: PatchSpec, random: np.random.Generator, *, moved_only: bool = False) -> Patch:
        """Return a patch; what is done to it is drawn from `random`.

        Parameters
        ----------
        spec
            Which patch.
        random
            The sample's own stream of random numbers.
        moved_only
            Leave the image's intensities to whoever reads on, as the patch's `pending`.

        Raises
        ------
        DataError
            When the data cannot be read, or holds NaN.
        """
        record = self._dataset.records[spec.record]
        augment = self._augmenter(record.spacing) if self._augmenter is not None else None
        changes = augment.draw(random, record.image.channels) if augment is not None else None
        size = augment.source_size(changes) if augment is not None else spec.size
        labels, masks = self._read_labels(record, spec.crop(size))
        if spec.start != spec.anchor and not self._enough(labels, masks, spec, size):
            spec = spec.at_anchor()
            labels, masks = self._read_labels(record, spec.crop(size))
        image = self._read_image(record, spec.crop(size))
        if augment is not None:
            change = augment.move if moved_only else augment.apply
            image, labels, masks = change(changes, image, labels, masks)
        pending = augment.intensities(changes) if augment is not None and moved_only else None
        return Patch(np.ascontiguousarray(image), labels, masks, changes, pending)

    def _read_image(self, record: Record, crop: Crop) -> NDArray[np.float32]:
        image = record.image.read(crop.source)
        check_finite(image, record.id, crop.source)
        return crop.pad_image(self._normalisation.apply(image))

    def _read_labels(self, record: Record, crop: Crop) -> tuple[Arrays, Arrays]:
        """Return labels and masks of every target; where there is no label file the mask is False."""
        labels: Arrays = {}
        masks: Arrays = {}
        read: dict[int, NDArray[Any]] = {}
        shape = tuple(s.stop - s.start for s in crop.source)
        for name, target in self._rules.targets.items():
            blank = self._blank[name]
            if name in record.labels:
                values = _read_once(record.labels[name], crop, read)
                valid = np.ones(shape, np.bool_)
            else:
                values = np.zeros((blank.shape[0], *shape), blank.dtype)
                valid = np.zeros(shape, np.bool_)
            if name in record.masks:
                valid = valid & (_read_once(record.masks[name], crop, read) != 0).all(axis=0)
            plain = values[0] if values.shape[0] == 1 else values
            labels[name] = crop.pad_labels(plain, target.unlabelled or 0)
            masks[name] = crop.pad_labels(valid, False)
        return labels, masks

    def _enough(self, labels: Arrays, masks: Arrays, spec: PatchSpec, size: tuple[int, ...]) -> bool:
        """Return whether a moved patch still has the share of labels that the index promises."""
        if self._rules.min_ratio <= 0 and self._rules.min_box <= 0:
            return True
        margins = [(wanted - n) // 2 for wanted, n in zip(size, spec.size, strict=True)]
        middle = tuple(slice(m, m + n) for m, n in zip(margins, spec.size, strict=True))
        inside = [
            min(n, b - a) for n, a, b in zip(spec.size, spec.region.start, spec.region.stop, strict=True)
        ]
        volume = float(np.prod(inside))
        for name in labels:
            channels = labels[name] if labels[name].ndim > len(middle) else labels[name][None]
            labelled, _ = self._rules.read(channels[(slice(None), *middle)], masks[name][middle][None], name)
            if not labelled.any() or labelled.sum() / volume < self._rules.min_ratio:
                continue
            if self._rules.min_box <= 0 or _box(labelled) / volume >= self._rules.min_box:
                return True
        return False


def _read_once(source: Source, crop: Crop, read: dict[int, NDArray[Any]]) -> NDArray[Any]:
    """Read a crop; a source that several targets share is read once."""
    if id(source) not in read:
        read[id(source)] = source.read(crop.source)
    return read[id(source)]


def _box(labelled: NDArray[np.bool_]) -> int:
    """Return the volume of the bounding box of True."""
    volume = 1
    for axis in range(labelled.ndim):
        others = tuple(a for a in range(labelled.ndim) if a != axis)
        where = np.flatnonzero(labelled.any(axis=others))
        volume *= int(where[-1] - where[0] + 1)
    return volume


def _blank(dataset: Dataset, target: str) -> NDArray[Any]:
    """Return an array with the type and channels of a target's labels, for records that have none."""
    for record in dataset.records.values():
        if target in record.labels:
            source = record.labels[target]
            return np.zeros(source.channels, source.dtype)
    return np.zeros(1, np.int32)
