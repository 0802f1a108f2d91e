"""The labels of one primary target in one patch, and what all its heads share."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from . import surface

if TYPE_CHECKING:
    from .structure import Structure

_LARGEST_NUMBER = 1 << 18


class SourcePatch:
    """Labels of one target in one patch; distances are computed once, when first asked for.

    Parameters
    ----------
    labels
        ``(*spatial)`` label values (``(C, *spatial)`` measured values of a regression target).
    foreground
        ``(*spatial)``, subset of `labelled`.
    labelled
        ``(*spatial)``, where the labels count.
    spacing
        Size of a voxel in array order.
    instances
        Whether foreground values number objects; then surfaces where two objects touch count.
    """

    def __init__(
        self,
        labels: NDArray[Any],
        foreground: NDArray[np.bool_],
        labelled: NDArray[np.bool_],
        spacing: tuple[float, ...],
        *,
        instances: bool = False,
    ) -> None:
        self.labels = labels
        self.foreground = foreground
        self.labelled = labelled
        self.spacing = spacing
        self.instances = instances
        self.structures: dict[tuple[Any, ...], Structure] = {}
        """Structure tensors by their settings; see `structure.structure_of`."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Spatial shape."""
        return self.labelled.shape

    @cached_property
    def ids(self) -> NDArray[np.int32]:
        """``(*spatial)`` numbers: 0 background, -1 unlabelled, else a positive number an object."""
        labels = self.labels
        if labels.size and (int(labels.max()) >= _LARGEST_NUMBER or int(labels.min()) < 0):
            # Tables are indexed by these numbers; the numbers themselves carry no meaning.
            distinct, place = np.unique(labels, return_inverse=True)
            labels = np.arange(1, len(distinct) + 1, dtype=np.int32)[place].reshape(labels.shape)
        ids = np.where(self.foreground, labels, 0).astype(np.int32)
        if not self.labelled.all():
            ids[~self.labelled] = -1
        return np.asarray(ids)

    @cached_property
    def objects(self) -> NDArray[np.int32]:
        """Numbers as `ids`, of objects also where labels do not number them: connected by faces."""
        if self.instances:
            return self.ids
        import cc3d

        connectivity = 4 if self.foreground.ndim == 2 else 6
        numbers = cc3d.connected_components(self.foreground, connectivity=connectivity, out_dtype=np.uint32)
        numbers = np.asarray(numbers).astype(np.int32).reshape(self.shape)
        numbers[~self.labelled] = -1
        return numbers

    @cached_property
    def reach(self) -> NDArray[np.float32]:
        """Distance from every voxel centre to the nearest one that is unlabelled or outside the patch."""
        # Between objects, unlabelled voxels are taken for surface, so that a tie says nothing.
        return surface.reach(self.labelled, self.spacing, closed=not self.instances)

    @cached_property
    def sides(self) -> surface.Sides | None:
        """The nearest voxel centre of another side; None when the patch has one side."""
        if self.instances:
            return surface.between_objects(self.ids, self.spacing)
        return surface.between_centres(self.foreground, self.labelled, self.spacing)

    @cached_property
    def surface(self) -> surface.SurfaceField | None:
        """Signed distance to the surface; None when the patch shows none."""
        if self.sides is None:
            return None
        return surface.surface_field(self.sides.signed, self.labelled, self.reach, self.spacing)
