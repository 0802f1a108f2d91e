"""What a patch's axes mean for augmentation: its plane, its slices, its physical proportions."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from .parameters import SpatialParameters

COARSE = 2.0
"""An axis whose spacing is more than this many times the finest one is read as a stack of slices."""

LARGEST_CONTEXT = 1.5
"""Source sizes stop at this many times the patch: a rotation by 45° needs √2; more would be read for
the rare draw that is rotated and shrunk at once, whose corners are then reflected and masked instead."""

TILT = 1 / 6
"""Rotations out of the plane reach this share of the largest angle."""


@dataclass(frozen=True)
class Frame:
    """Size and spacing of the patches, and what follows from them.

    Parameters
    ----------
    patch_size
        Voxels an axis, ``(z,) y, x``.
    spacing
        Physical size of a voxel, ``(z,) y, x``.
    """

    patch_size: tuple[int, ...]
    spacing: tuple[float, ...]

    def __post_init__(self) -> None:
        ndim = len(self.patch_size)
        if ndim not in (2, 3) or len(self.spacing) != ndim:
            raise ValueError(
                f"patch size {self.patch_size} and spacing {self.spacing} need two or three numbers each, "
                "as many of one as of the other"
            )
        if min(self.patch_size) < 1 or min(self.spacing) <= 0:
            raise ValueError(f"patch size {self.patch_size} and spacing {self.spacing} must be above 0")

    @property
    def ndim(self) -> int:
        """Number of spatial axes, 2 or 3."""
        return len(self.patch_size)

    @cached_property
    def slice_axis(self) -> int | None:
        """Axis along which a volume is a stack of slices; None for a plane.

        The two axes that stay are the pair with the most similar spacing, the last ones where several
        pairs are alike: (5, 1, 1) and (1, 1, 1) give axis 0, (1, 1, 5) gives axis 2.
        """
        if self.ndim == 2:
            return None
        ratios = []
        for axis in range(3):
            i, j = (k for k in range(3) if k != axis)
            ratios.append(max(self.spacing[i], self.spacing[j]) / min(self.spacing[i], self.spacing[j]))
        return int(np.argmin(np.round(ratios, 6)))

    @cached_property
    def plane(self) -> tuple[int, int]:
        """The two axes of the plane in which rotations are free."""
        first, second = (axis for axis in range(self.ndim) if axis != self.slice_axis)
        return first, second

    @property
    def anisotropic(self) -> bool:
        """Whether spacings differ by more than 2:1."""
        return max(self.spacing) / min(self.spacing) > COARSE

    @property
    def coarse(self) -> tuple[bool, ...]:
        """For each axis, whether it is more than twice as coarse as the finest one."""
        return tuple(s / min(self.spacing) > COARSE for s in self.spacing)

    @property
    def extent(self) -> tuple[float, ...]:
        """Physical distance between the first and the last voxel centre, for each axis."""
        return tuple((n - 1) * s for n, s in zip(self.patch_size, self.spacing, strict=True))

    @cached_property
    def rotation_planes(self) -> tuple[tuple[int, int], ...]:
        """Pairs of axes that rotate into each other: the plane, and in 3D the two out of it."""
        i, j = self.plane
        return ((i, j),) if self.slice_axis is None else ((i, j), (self.slice_axis, i), (self.slice_axis, j))

    def largest_angles(self, degrees: float) -> tuple[float, ...]:
        """Return how far each of `rotation_planes` is rotated when the largest angle is `degrees`.

        Out of the plane a sixth of it, and nothing where spacings differ by more than 2:1. A patch that
        is longer than 1.5 times its width is turned only as far as its context reaches: turned across, it
        would come from outside, reflected and masked.
        """
        limits = []
        sizes = [n * s for n, s in zip(self.patch_size, self.spacing, strict=True)]
        for number, (i, j) in enumerate(self.rotation_planes):
            limit = degrees if number == 0 else degrees * TILT * (not self.anisotropic)
            longer = max(sizes[i], sizes[j]) / min(sizes[i], sizes[j])
            if longer > LARGEST_CONTEXT:
                # The solution of cos a + longer · sin a = LARGEST_CONTEXT: half the width of the rotated box.
                fits = np.arctan(longer) - np.arccos(LARGEST_CONTEXT / np.hypot(1.0, longer))
                limit = min(limit, float(np.rad2deg(fits)))
            limits.append(limit)
        return tuple(limits)

    @cached_property
    def turns_exactly(self) -> bool:
        """Whether a quarter turn in the plane maps the voxel grid of the patch onto itself."""
        i, j = self.plane
        return self.patch_size[i] == self.patch_size[j] and bool(
            np.isclose(self.spacing[i], self.spacing[j], rtol=1e-6, atol=0.0)
        )

    def in_voxels(self, length: float) -> tuple[float, ...]:
        """Return a length given in voxels of the finest axis in voxels of each axis."""
        return tuple(length * min(self.spacing) / s for s in self.spacing)

    def matrix(self, params: SpatialParameters) -> np.ndarray:
        """Return the matrix from patch voxels to source voxels, both counted from their centres.

        Flips act first, then quarter turns, then the rotation, then shears, then the size; all of it in
        physical units, so that with A the result, S = diag(spacing), R the rotation and H the shears,
        A = S⁻¹ (H R Q F / scale) S.

        Returns
        -------
        numpy.ndarray
            ``(ndim, ndim)`` float64; exact integers when `params.exact`.
        """
        physical = np.diag([-1.0 if flip else 1.0 for flip in params.flips])
        i, j = self.plane
        for _ in range(params.turns % 4):
            physical = _plane_rotation(self.ndim, i, j, 0.0, 1.0) @ physical
        if any(params.angles):
            for (a, b), angle in zip(self.rotation_planes, params.angles, strict=True):
                physical = _plane_rotation(self.ndim, a, b, np.cos(angle), np.sin(angle)) @ physical
        for shear in params.shears:
            tilt = np.eye(self.ndim)
            tilt[shear.axis, shear.along] = np.tan(shear.angle)
            physical = tilt @ physical
        spacing = np.asarray(self.spacing)
        # s_j / s_i first: it is exactly 1 for equal spacings, where (1 / s_i) * s_j need not be.
        return np.asarray((physical / params.scale) * (spacing[None, :] / spacing[:, None]))

    def source_size(self, params: SpatialParameters) -> tuple[int, ...]:
        """Return the size of a crop, centred on the patch, that holds all that `params` reads.

        Never below the patch, never above 1.5 times the patch, and odd or even as the patch is, so
        that the centres coincide on a voxel.
        """
        half = (np.asarray(self.patch_size) - 1) / 2
        reach = np.abs(self.matrix(params)) @ half
        if params.elastic is not None:
            reach += np.abs(params.elastic).max(axis=tuple(range(1, params.elastic.ndim))) / self.spacing
        return self.context(reach)

    def context(self, reach: np.ndarray) -> tuple[int, ...]:
        """Return the source size for a reach of `reach` voxels on both sides of the centre."""
        patch = np.asarray(self.patch_size)
        margin = np.ceil(np.round(reach - (patch - 1) / 2, 6))
        largest = np.floor((LARGEST_CONTEXT - 1) * patch / 2)
        return tuple(int(n) for n in patch + 2 * np.clip(margin, 0, largest).astype(int))


def _plane_rotation(ndim: int, i: int, j: int, cosine: float, sine: float) -> np.ndarray:
    """Return the rotation of the plane of axes `i` and `j`."""
    matrix = np.eye(ndim)
    matrix[i, i] = matrix[j, j] = cosine
    matrix[i, j], matrix[j, i] = -sine, sine
    return matrix
