"""Which class was taken for which: the confusion matrix, and the classification report that it gives."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from .overlap import Array, Mask, OverlapCounts, known


@dataclass(frozen=True)
class ConfusionMatrix:
    """Voxels by true and by predicted class; matrices of several images are added by ``+``.

    Attributes
    ----------
    classes
        Names of the classes, background first.
    counts
        One row a true class, one column a predicted one.
    """

    classes: tuple[str, ...]
    counts: tuple[tuple[int, ...], ...]

    @classmethod
    def of(
        cls, truth: Array, prediction: Array, values: Sequence[int], valid: Mask | None = None
    ) -> ConfusionMatrix:
        """Count the voxels of two label maps, `(*spatial)`.

        Parameters
        ----------
        truth, prediction
            Label values.
        values
            The classes' label values, in order. Voxels with another one, in either map, are not counted.
        valid
            `(*spatial)`, True where the truth is known; None is everywhere.
        """
        true, predicted = (_places(known(labels, valid), values) for labels in (truth, prediction))
        both, size = (true >= 0) & (predicted >= 0), len(values)
        codes = true[both] * size + predicted[both]
        table = np.bincount(codes, minlength=size * size).reshape(size, size)
        return cls(tuple(map(str, values)), tuple(map(tuple, table.tolist())))

    @classmethod
    def of_mask(cls, counts: OverlapCounts, voxels: int) -> ConfusionMatrix:
        """Return the matrix of background and foreground among so many labelled voxels."""
        rows = (voxels - counts.union, counts.only_predicted), (counts.only_true, counts.both)
        return cls(("background", "foreground"), rows)

    def __add__(self, other: ConfusionMatrix) -> ConfusionMatrix:
        if self.classes != other.classes:
            raise ValueError(f"matrices of the classes {self.classes} and {other.classes} cannot be added")
        sums = np.add(self.counts, other.counts)
        return ConfusionMatrix(self.classes, tuple(map(tuple, sums.tolist())))

    @property
    def shares(self) -> npt.NDArray[np.float64]:
        """What share of each true class was taken for which; 0 in the rows of classes that do not occur."""
        counts = np.array(self.counts, np.float64)
        total = counts.sum(axis=1, keepdims=True)
        return np.asarray(np.divide(counts, total, out=np.zeros_like(counts), where=total > 0))

    def report(self) -> dict[str, Any]:
        """Return precision, recall and F1 of each class, and their means.

        Returns
        -------
        dict
            What scikit-learn's ``classification_report(…, output_dict=True, zero_division=0)`` returns: a
            dictionary a class, ``accuracy``, ``macro avg`` (over all classes, also those that do not
            occur) and ``weighted avg`` (by the number of true voxels).
        """
        counts = np.array(self.counts, np.float64)
        right, true, predicted = counts.diagonal(), counts.sum(axis=1), counts.sum(axis=0)
        columns = {
            "precision": _ratio(right, predicted),
            "recall": _ratio(right, true),
            "f1-score": _ratio(2 * right, true + predicted),
        }
        rows: dict[str, Any] = {
            name: {**{key: float(values[n]) for key, values in columns.items()}, "support": float(true[n])}
            for n, name in enumerate(self.classes)
        }
        total = float(true.sum())
        rows["accuracy"] = float(right.sum()) / total if total else 0.0
        for name, weights in (("macro avg", np.ones_like(true)), ("weighted avg", true)):
            weight = float(weights.sum())
            means = {k: float(v @ weights) / weight if weight else 0.0 for k, v in columns.items()}
            rows[name] = {**means, "support": total}
        return rows

    def report_text(self, digits: int = 4) -> str:
        """Return `report` as a table of text, laid out as scikit-learn does."""
        rows = self.report()
        accuracy = rows.pop("accuracy")
        width = max(*map(len, rows), digits)
        head = f"{'':>{width}s} " + "".join(f" {name:>9}" for name in next(iter(rows.values())))

        def line(name: str, row: dict[str, float]) -> str:
            *scores, support = row.values()
            return f"{name:>{width}s} " + "".join(f" {v:>9.{digits}f}" for v in scores) + f" {support:>9.0f}"

        lines = [line(name, row) for name, row in rows.items()]
        total = rows["macro avg"]["support"]
        middle = f"{'accuracy':>{width}s} " + " " * 20 + f" {accuracy:>9.{digits}f} {total:>9.0f}"
        return "\n".join([head, "", *lines[:-2], "", middle, *lines[-2:]]) + "\n"

    def to_csv(self) -> str:
        """Return the counts as CSV: a column a predicted class, a row a true one."""
        file = io.StringIO()
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["true \\ predicted", *self.classes])
        writer.writerows([name, *row] for name, row in zip(self.classes, self.counts, strict=True))
        return file.getvalue()

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON-able values."""
        return {"classes": list(self.classes), "counts": [list(row) for row in self.counts]}


def _places(labels: Array, values: Sequence[int]) -> npt.NDArray[np.int64]:
    """Return the place of each label among `values`; -1 where it is none of them."""
    order = np.argsort(values)
    ordered = np.asarray(values)[order]
    found = np.minimum(np.searchsorted(ordered, labels), len(values) - 1)
    return np.where(ordered[found] == labels, order[found], -1).astype(np.int64)


def _ratio(part: npt.NDArray[np.float64], whole: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Divide; 0 where there is nothing to divide by."""
    return np.asarray(np.divide(part, whole, out=np.zeros_like(part), where=whole > 0))
