"""Labels that are painted while a network learns from them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Protocol

from ..config import DataError, did_you_mean
from .dataset import Dataset

Bounds = tuple[tuple[int, int], ...]


class Follower(Protocol):
    """Wants to know of painted labels, as a `PatchLoader` does."""

    def labels_changed(
        self, record: str, target: str, bounds: Bounds, done: tuple[int, int] = (0, 0), /
    ) -> bool:
        """Take note of a change in one record; return whether it draws from there."""
        ...


def labels_changed(
    dataset: Dataset,
    loaders: Iterable[Follower],
    record: str,
    target: str,
    bounds: Sequence[Sequence[int]],
    done: tuple[int, int] = (0, 0),
) -> bool:
    """Tell running loaders that labels, or a mask, have new values.

    Sources read their files afresh, so the patches prepared from now on have the new values; here the
    loaders learn where there is something to draw. The cost is the stroke's, not the volume's.

    Parameters
    ----------
    dataset
        What the loaders read.
    loaders
        Training and validation, and whoever else follows the labels.
    record
        Id of a record, or name of a stack (`Record.group`) whose planes are records.
    target
        The target that was painted.
    bounds
        Start and stop of the changed box for each axis of the record or stack, in voxels.
    done
        Epochs that are done, and batches of the next.

    Returns
    -------
    bool
        Whether the change lies in a region that any loader uses.

    Raises
    ------
    DataError
        When there is no such image or target, or the bounds do not fit the image: the layer was
        deleted, or has another shape now.
    """
    box: Bounds = tuple((int(low), int(high)) for low, high in bounds)
    touched = False
    for name, inside in _changes(dataset, record, box):
        for loader in loaders:
            touched |= loader.labels_changed(name, target, inside, done)
    return touched


def _changes(dataset: Dataset, record: str, bounds: Bounds) -> list[tuple[str, Bounds]]:
    """Return the change in each record that it touches."""
    found = dataset.records.get(record)
    planes = [found] if found is not None else [r for r in dataset.records.values() if r.group == record]
    if not planes:
        names = {*dataset.records, *(r.group for r in dataset.records.values() if r.group)}
        raise DataError(f"there is no image {record!r} in the training data. {did_you_mean(record, names)}")
    changes: list[tuple[str, Bounds]] = []
    for plane in planes:
        place: tuple[int, ...] = () if found is not None else getattr(plane.image, "position", ())
        inside = bounds[len(place) :]
        shape = plane.shape
        if len(inside) != len(shape) or any(high > n for (_, high), n in zip(inside, shape, strict=True)):
            raise DataError(
                f"labels of {record!r} changed at {list(bounds)}, but the image has the shape {shape}"
                f"{' in a stack' if place else ''}; the layer has another shape than when training began. "
                "Start the training again with the new layer"
            )
        if all(low <= at < high for at, (low, high) in zip(place, bounds, strict=False)):
            changes.append((plane.id, inside))
    return changes
