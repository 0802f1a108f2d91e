"""Splits for cross-validation: every labelled image validates once."""

from __future__ import annotations

import itertools

import numpy as np

from ..config import DataError
from .dataset import Dataset
from .records import Record, Split
from .split import STACK_GAP, whole


def make_folds(dataset: Dataset, folds: int, seed: int = 0) -> tuple[Split, ...]:
    """Return `folds` splits; what validates in one is trained on in all others.

    Whole images are dealt out at random where several are labelled (whole stacks, where there are several).
    The planes of a single stack are cut into runs, and beside the run that validates some planes are left
    out, since neighbours look alike.

    Parameters
    ----------
    dataset
        Images without labels are not used.
    folds
        How many, at least 2.
    seed
        Decides which image is in which; the same seed gives the same folds.

    Raises
    ------
    DataError
        When there are fewer labelled images than folds, or a ``split.json`` decides.
    """
    if dataset.split_file is not None:
        raise DataError(
            f"{dataset.split_file}: decides what is trained on, so that there are no folds: leave "
            "tr_setup.folds (--folds) out, or take the file away"
        )
    groups: dict[str, list[Record]] = {}
    for record in dataset.labelled_records():
        groups.setdefault(record.group or record.id, []).append(record)
    if len(groups) == 1:
        [planes] = groups.values()
        if len(planes) >= folds * 2:
            return _of_planes(planes, folds)
    if len(groups) < folds:
        what = "image has" if len(groups) == 1 else "images have"
        raise DataError(
            f"{dataset.origin}: {folds} folds need as many labelled images, and {len(groups)} {what} labels: "
            "label more, or ask for fewer folds (tr_setup.folds)"
        )
    order = np.random.default_rng(seed).permutation(len(groups))
    fold_of = {int(place): number % folds for number, place in enumerate(order)}
    parts = list(groups.values())
    return tuple(
        Split(
            train=tuple(whole(r) for place, part in enumerate(parts) if fold_of[place] != fold for r in part),
            val=tuple(whole(r) for place, part in enumerate(parts) if fold_of[place] == fold for r in part),
        )
        for fold in range(folds)
    )


def _of_planes(planes: list[Record], folds: int) -> tuple[Split, ...]:
    count = len(planes)
    gap = min(STACK_GAP, count // (4 * folds))
    edges = [round(count * fold / folds) for fold in range(folds + 1)]
    return tuple(
        Split(
            train=tuple(whole(r) for r in (*planes[: max(0, first - gap)], *planes[last + gap :])),
            val=tuple(whole(r) for r in planes[first:last]),
        )
        for first, last in itertools.pairwise(edges)
    )
