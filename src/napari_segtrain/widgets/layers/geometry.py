"""Where a layer lies in the world, so that what is computed from it lies there too."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
import numpy.typing as npt

Vector = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Geometry:
    """The spatial metadata of a layer, axis by axis in array order.

    napari maps an index i to the world by ``affine · (rotate · shear · diag(scale) · i + translate)``.

    Attributes
    ----------
    scale, translate
        A number an axis.
    rotate, shear
        Matrices, (axes, axes).
    affine
        Matrix in homogeneous coordinates, (axes + 1, axes + 1).
    units, axis_labels
        One an axis; None for napari's defaults.
    """

    scale: Vector
    translate: Vector
    rotate: Vector
    shear: Vector
    affine: Vector
    units: tuple[Any, ...] | None
    axis_labels: tuple[str, ...] | None

    @classmethod
    def of(cls, layer: Any) -> Self:
        """Return the geometry of a layer; a colour axis is no axis."""
        labels = tuple(str(label) for label in layer.axis_labels)
        default = labels == tuple(str(axis) for axis in range(-layer.ndim, 0))
        return cls(
            scale=np.array(layer.scale, float),
            translate=np.array(layer.translate, float),
            rotate=np.array(layer.rotate, float),
            shear=_shear_matrix(layer.shear, layer.ndim),
            affine=np.array(layer.affine.affine_matrix, float),
            units=tuple(layer.units),
            axis_labels=None if default else labels,
        )

    @classmethod
    def placed(cls, spacing: Sequence[float], origin: Sequence[float], unit: str) -> Self:
        """Return the geometry of a part of an upright image.

        Parameters
        ----------
        spacing
            Size of a voxel on each axis.
        origin
            Index of the part's first voxel in the image.
        unit
            Unit of `spacing`.
        """
        scale, ndim = np.array(spacing, float), len(spacing)
        return cls(
            scale=scale,
            translate=scale * np.asarray(origin, float),
            rotate=np.eye(ndim),
            shear=np.eye(ndim),
            affine=np.eye(ndim + 1),
            units=(unit,) * ndim,
            axis_labels=None,
        )

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return len(self.scale)

    @property
    def linear(self) -> Vector:
        """The matrix from index differences to differences in physical space, before `affine`."""
        return np.asarray(self.rotate @ self.shear @ np.diag(self.scale))

    def coincides(self, other: Geometry) -> bool:
        """Return whether an array at the other geometry lies where it does at this one."""
        names = ("scale", "translate", "rotate", "shear", "affine")
        return self.ndim == other.ndim and all(
            np.allclose(getattr(self, name), getattr(other, name)) for name in names
        )

    def select(self, axes: Sequence[int]) -> Self:
        """Return the geometry of the array that keeps only these axes, in their order."""
        kept = list(axes)
        square = np.ix_(kept, kept)
        homogeneous = np.ix_([*kept, self.ndim], [*kept, self.ndim])
        return replace(
            self,
            scale=self.scale[kept],
            translate=self.translate[kept],
            rotate=self.rotate[square],
            shear=self.shear[square],
            affine=self.affine[homogeneous],
            units=None if self.units is None else tuple(self.units[axis] for axis in kept),
            axis_labels=None if self.axis_labels is None else tuple(self.axis_labels[axis] for axis in kept),
        )

    def crop(self, start: Sequence[int]) -> Self:
        """Return the geometry of the part of the array that begins at index `start`."""
        return replace(self, translate=self.translate + self.linear @ np.asarray(start, float))

    def coarser(self, factors: Sequence[float]) -> Self:
        """Return the geometry of the array in which blocks of `factors` voxels became one."""
        by = np.asarray(factors, float)
        moved = self.translate + self.linear @ ((by - 1.0) / 2.0)
        return replace(self, scale=self.scale * by, translate=moved)

    def stacked(self, label: str = "patch") -> Self:
        """Return the geometry of arrays stacked along a new first axis of this name, one world unit apart."""

        def leading(matrix: Vector) -> Vector:
            larger = np.eye(len(matrix) + 1)
            larger[1:, 1:] = matrix
            return larger

        return replace(
            self,
            scale=np.concatenate([[1.0], self.scale]),
            translate=np.concatenate([[0.0], self.translate]),
            rotate=leading(self.rotate),
            shear=leading(self.shear),
            affine=leading(self.affine),
            units=None if self.units is None else ("pixel", *self.units),
            axis_labels=None if self.axis_labels is None else (label, *self.axis_labels),
        )

    def kwargs(self) -> dict[str, Any]:
        """Return what napari's `add_image` and `add_labels` take."""
        return {
            "scale": self.scale,
            "translate": self.translate,
            "rotate": self.rotate,
            "shear": self.shear,
            "affine": self.affine,
            "units": self.units,
            "axis_labels": self.axis_labels,
        }


def spatial_metadata(layer: Any) -> dict[str, Any]:
    """Return scale, translate, rotate, shear, affine, units and axis labels of a layer, for a new one."""
    return Geometry.of(layer).kwargs()


def _shear_matrix(shear: Any, ndim: int) -> Vector:
    given = np.asarray(shear, float)
    if given.ndim == 2:
        return given
    matrix = np.eye(ndim)
    matrix[np.triu_indices(ndim, 1)] = given
    return matrix
