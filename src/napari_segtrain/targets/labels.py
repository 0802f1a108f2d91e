"""Reading painted labels: where they count, what is foreground, which class is where."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..config import TargetConfig, TargetFacts
from .kinds import background_value, kind_without_facts

_TABLE_SPAN = 1 << 16


def label_masks(
    labels: NDArray[Any],
    target: TargetConfig,
    facts: TargetFacts | None = None,
    *,
    ndim: int | None = None,
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Tell where labels are foreground and where they count at all.

    Parameters
    ----------
    labels
        ``(*spatial)`` label values, or ``(C, *spatial)`` measured values of a regression target.
    target
        Which values mean what.
    facts
        What is known of all labels of the target; decides the background of labels whose 0 means
        unlabelled (without facts it is 1).
    ndim
        Number of spatial axes; tells a regression target's ``(*spatial)`` from ``(C, *spatial)``. Without
        it the first axis of a regression target is channels.

    Returns
    -------
    foreground : ndarray of bool
        ``(*spatial)``, something else than background; a subset of `labelled`.
    labelled : ndarray of bool
        ``(*spatial)``, False at the unlabelled value and, for a regression target, at values that are
        not finite.

    Notes
    -----
    Foreground of a regression target is every labelled voxel with a value other than 0.
    """
    if target.kind == "regression":
        return _measured_masks(labels, target, channels_first=labels.ndim != ndim)
    labelled = np.ones(labels.shape, bool) if target.unlabelled is None else labels != target.unlabelled
    if target.values is None:
        foreground = labels != background_value(target, facts)
    else:
        wanted = target.values[1:] if kind_without_facts(target) == "classes" else target.values
        foreground = np.zeros(labels.shape, bool)
        for value in wanted:
            foreground |= labels == value
    if target.unlabelled is not None:
        foreground &= labelled
    return foreground, labelled


def telling_values(target: TargetConfig, facts: TargetFacts | None = None) -> tuple[int, ...]:
    """Return the values that `label_masks` looks for, sorted; all other whole numbers mean the same."""
    unlabelled = () if target.unlabelled is None else (target.unlabelled,)
    return tuple(sorted({0, background_value(target, facts), *unlabelled, *(target.values or ())}))


def _measured_masks(
    values: NDArray[Any], target: TargetConfig, channels_first: bool
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Return the masks of measured values; a voxel counts when all its channels do."""
    labelled = np.isfinite(values)
    if target.unlabelled is not None:
        labelled &= values != target.unlabelled
    nonzero = values != 0
    if channels_first:
        labelled, nonzero = labelled.all(axis=0), nonzero.any(axis=0)
    return np.asarray(labelled & nonzero), np.asarray(labelled)


def class_indices(labels: NDArray[Any], values: tuple[int, ...], *, others: int = -1) -> NDArray[np.int64]:
    """Replace label values by their position in `values`.

    Parameters
    ----------
    labels
        Whole numbers of any shape.
    values
        Label value of each class.
    others
        What a value that is not among them becomes.

    Returns
    -------
    ndarray of int64
        Same shape as `labels`.
    """
    low, high = min(values), max(values)
    span = high - low + 1
    if span > _TABLE_SPAN:
        order = np.argsort(values)
        ordered = np.asarray(values, dtype=np.int64)[order]
        place = np.minimum(np.searchsorted(ordered, labels), len(values) - 1)
        return np.where(ordered[place] == labels, order[place], others).astype(np.int64)
    table = np.full(span + 2, others, dtype=np.int64)
    for index, value in enumerate(values):
        table[value - low + 1] = index
    # One entry below and one above the span catch everything outside it.
    if np.can_cast(labels.dtype, np.int64):
        place = labels.astype(np.int64) - (low - 1)
    else:
        place = np.minimum(labels, np.uint64(max(high + 1, 0))).astype(np.int64) - (low - 1)
    np.clip(place, 0, span + 1, out=place)
    return np.asarray(table[place])
