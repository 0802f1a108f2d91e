"""Scores of a split: for each output, of all images together and of each by itself."""

from __future__ import annotations

import io
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table

from napari_segtrain.targets import Head

from .confusion import ConfusionMatrix
from .overlap import Array
from .scores import Scores, score_classes, score_directions, score_mask, score_objects, score_values

SEPARATING = ("boundary", "centre_distance")
"""Encodings that only serve to separate the objects of an instance target; the objects are scored."""

AVERAGED = ("dice", "iou", "cldice")
"""Scores of which the plain name means the mean over images; see `Report`."""

UNPOOLED = "hd95"
"""How scores begin that have no sense for several images counted together."""

MAIN_SCORES = (
    "dice",
    "iou",
    "hd95",
    "cldice",
    "ap50",
    "map",
    "f1",
    "accuracy",
    "mae",
    "angular_error",
)
"""Scores that tables show, where they are defined."""

_COUNTS = ("voxels", "objects", "predicted_objects")


def evaluate_image(
    heads: Sequence[Head],
    truth: Mapping[str, Array],
    prediction: Mapping[str, Array],
    instances: Mapping[str, tuple[Array, Array]] | None = None,
    threshold: float = 0.5,
    values: Mapping[str, tuple[int, ...]] | None = None,
    spacing: Sequence[float] | None = None,
) -> dict[str, Scores]:
    """Score all outputs for one image.

    Parameters
    ----------
    heads
        The network's outputs. Those without truth or prediction are passed over.
    truth
        What `TargetDeriver` makes of the image's labels: ``<head>`` `(C, *spatial)`, class numbers for
        classes, and ``<head>_mask`` `(1, *spatial)`.
    prediction
        Output name to `(C, *spatial)` after the activation.
    instances
        For each instance target the true and the predicted object numbers, `(*spatial)`; without them its
        foreground is scored.
    threshold
        Foreground begins above this probability.
    values
        Label value of each class, background first, by output; scores of single classes are called by it.
    spacing
        Size of a voxel; with it surfaces and skeletons are compared too.

    Returns
    -------
    dict
        Output name to its scores.
    """
    found: dict[str, Scores] = {}
    objects = instances or {}
    for head in heads:
        name = head.name
        if head.encoding in SEPARATING or name not in truth or name not in prediction:
            continue
        valid = np.asarray(truth[f"{name}_mask"][0], np.bool_)
        true, predicted = truth[name], prediction[name]
        if name in objects:
            found[name] = score_objects(*objects[name], valid, spacing)
        elif head.encoding == "classes":
            numbers = (values or {}).get(name) or tuple(range(head.out_channels))
            labels = np.asarray(numbers)
            found[name] = score_classes(labels[true[0]], labels[predicted.argmax(0)], numbers, valid, spacing)
        elif head.encoding == "binary":
            found[name] = score_mask(true[0], predicted[0] > threshold, valid, spacing)
        elif head.unit:
            found[name] = score_directions(true, predicted, valid, signed=head.kind != "line")
        else:
            found[name] = score_values(true, predicted, valid)
    return found


class Report:
    """Collects the scores of images and sums them up.

    Every score comes pooled (voxels, objects and errors of all images counted together, as if they were
    one image) and as the mean over images. Which of them carries the plain name follows how such numbers
    are published: ``dice`` and ``iou`` are means over images, so that a large image does not hide what
    happens in the others, and ``dice_pooled`` is beside them, as for ``cldice``; ``hd95`` is the mean over
    images and nothing else; everything else (``ap50``, ``map``, ``mae``, …) is pooled, so that an image with
    two objects does not count as much as one with two hundred, and ``ap50_mean`` is beside it. Images without
    a labelled voxel count nowhere.
    """

    def __init__(self) -> None:
        self._scores: dict[str, dict[str, Scores]] = {}

    def add(self, image: str, scores: Mapping[str, Scores]) -> None:
        """Add one image; a second time adds to what is there (regions of one image)."""
        for name, found in scores.items():
            images = self._scores.setdefault(name, {})
            images[image] = images[image] + found if image in images else found

    def to_dict(self) -> dict[str, dict[str, Any]]:
        """Return all scores, JSON-able.

        Returns
        -------
        dict
            ``{output: {"dice": …, "iou": …, "ap50": …, "voxels": …, "images": {image: {…}}}}``; where they
            exist, ``"confusion"`` (see `ConfusionMatrix`) and ``"curve"``, the scores of objects over IoU
            thresholds. What is not defined is None.
        """
        return {name: _summary(images) for name, images in self._scores.items()}

    def confusions(self) -> dict[str, ConfusionMatrix]:
        """Return the confusion matrix of all images together, of each output that has one."""
        totals = {name: _total(images) for name, images in self._scores.items()}
        return {name: matrix for name, total in totals.items() if (matrix := total.confusion) is not None}

    def table(self, width: int = 110) -> str:
        """Return the summary as a table of text, one row an output."""
        rows = self.to_dict()
        shown = [name for name in MAIN_SCORES if any(row.get(name) is not None for row in rows.values())]
        table = Table("target", *(n.replace("_", " ") for n in shown), "images", box=SIMPLE, highlight=False)
        for name, row in rows.items():
            cells = (_text(row.get(score)) for score in shown)
            table.add_row(name, *cells, str(len(row["images"])))
        buffer = io.StringIO()
        Console(file=buffer, width=width, color_system=None, markup=False).print(table)
        return "\n".join(line.rstrip() for line in buffer.getvalue().strip("\n").splitlines())


def _total(images: Mapping[str, Scores]) -> Scores:
    total, *others = images.values()
    for scores in others:
        total = total + scores
    return total


def _summary(images: Mapping[str, Scores]) -> dict[str, Any]:
    total = _total(images)
    rows = {image: {**scores.values(), "voxels": scores.voxels} for image, scores in images.items()}
    summary: dict[str, Any] = {}
    for name, pooled in total.values().items():
        if name in _COUNTS:
            summary[name] = pooled
            continue
        defined = [row[name] for row in rows.values() if row.get(name) is not None]
        mean = float(np.mean([float(value or 0.0) for value in defined])) if defined else None
        if name.startswith(UNPOOLED):
            summary[name] = mean
            continue
        averaged = name in AVERAGED
        summary[name] = mean if averaged else pooled
        summary[f"{name}_pooled" if averaged else f"{name}_mean"] = pooled if averaged else mean
    summary["voxels"] = total.voxels
    details: dict[str, Any] = {}
    if total.confusion is not None:
        details["confusion"] = total.confusion.to_dict()
    if total.curve:
        details["curve"] = total.curve
    return {**_finite(summary), **details, "images": {image: _finite(row) for image, row in rows.items()}}


def _finite(row: Mapping[str, Any]) -> dict[str, Any]:
    return {k: None if isinstance(v, float) and not math.isfinite(v) else v for k, v in row.items()}


def _text(value: Any) -> str:
    if value is None:
        return "–"
    return f"{value:.3f}" if abs(value) < 100 else f"{value:.4g}"
