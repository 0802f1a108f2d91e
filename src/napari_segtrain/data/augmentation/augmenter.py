"""The augmenter: draws once, then applies to image, labels and masks together."""

from __future__ import annotations

import itertools
from collections.abc import Mapping

import numpy as np

from napari_segtrain.config import AugmentationConfig

from .draw import active, draw, largest_angle, largest_displacement, largest_scale, largest_shear
from .exact import rearrangement
from .frame import Frame
from .intensity import change_volume
from .intensity_change import IntensityChange
from .parameters import AugmentationParameters, IntensityParameters, SpatialParameters
from .plane import resample_plane, toolbox
from .volume import resample_volume

Arrays = dict[str, np.ndarray]


class Augmenter:
    """Random changes of patches, in step for image, labels and masks; in 2D and 3D.

    Parameters
    ----------
    config
        Probabilities and ranges.
    ndim
        2 or 3.
    patch_size
        Voxels an axis of what comes out, ``(z,) y, x``.
    spacing
        Physical size of a voxel, ``(z,) y, x``: rotations are rotations in physical space, and where
        spacings differ by more than 2:1 they stay in the plane of the two alike.

    Notes
    -----
    An augmenter has no state: threads may share it.
    """

    def __init__(
        self, config: AugmentationConfig, ndim: int, patch_size: tuple[int, ...], spacing: tuple[float, ...]
    ) -> None:
        self.config = config
        self.frame = Frame(tuple(int(n) for n in patch_size), tuple(float(s) for s in spacing))
        if self.frame.ndim != ndim:
            raise ValueError(f"patch size {patch_size} does not have {ndim} axes")
        self._source_size = _largest_source(config, self.frame)

    def source_size(self, params: AugmentationParameters | None = None) -> tuple[int, ...]:
        """Return the size of the crop to read, centred on the patch.

        Parameters
        ----------
        params
            One draw: the crop that this draw needs, often the patch alone. Empty: what any draw may need.

        Returns
        -------
        tuple of int
            Voxels an axis: at least the patch, at most 1.5 times it, and odd or even as the patch is.
        """
        return self._source_size if params is None else self.frame.source_size(params.spatial)

    def draw(self, rng: np.random.Generator, channels: int = 1) -> AugmentationParameters:
        """Return what happens to one patch; the identity when augmentation is off or has no strength.

        Parameters
        ----------
        rng
            The patch's own random stream.
        channels
            Channels of the image; a draw for one channel serves any number of them alike.
        """
        return draw(self.config, self.frame, rng, channels)

    def apply(
        self,
        params: AugmentationParameters,
        image: np.ndarray,
        labels: Mapping[str, np.ndarray],
        masks: Mapping[str, np.ndarray],
    ) -> tuple[np.ndarray, Arrays, Arrays]:
        """Apply a draw to a crop that has the patch at its centre.

        Outside the crop, image and labels are reflected and masks are False. Results may share memory
        with the input where nothing changes.

        Parameters
        ----------
        params
            What was drawn.
        image
            ``(C, *source)`` float32; any size is served; one of `source_size` keeps corners valid.
        labels
            By name, ``(*source)`` or ``(C, *source)``, integers or floats.
        masks
            By name, bool, ``(*source)`` or ``(C, *source)``; True is valid.

        Returns
        -------
        tuple
            Image ``(C, *patch)`` float32, labels and masks ``(…, *patch)`` of the types given.

        Raises
        ------
        ValueError
            When the spatial sizes differ.
        """
        moved = self.move(params, image, labels, masks)
        return self.intensities(params).on_array(moved[0]), moved[1], moved[2]

    def move(
        self,
        params: AugmentationParameters,
        image: np.ndarray,
        labels: Mapping[str, np.ndarray],
        masks: Mapping[str, np.ndarray],
    ) -> tuple[np.ndarray, Arrays, Arrays]:
        """Apply the first half of a draw, all that moves voxels; see `apply`."""
        source_size = self._check(image, labels, masks)
        return self._move(params.spatial, source_size, image, labels, masks)

    def intensities(self, params: AugmentationParameters) -> IntensityChange:
        """Return the second half of a draw, which changes the image alone and follows `move`."""
        return IntensityChange(self.frame, params.intensity)

    def __call__(
        self,
        image: np.ndarray,
        labels: Mapping[str, np.ndarray],
        masks: Mapping[str, np.ndarray],
        rng: np.random.Generator,
    ) -> tuple[np.ndarray, Arrays, Arrays]:
        """Draw and apply; see `apply` for the arrays."""
        return self.apply(self.draw(rng, image.shape[0]), image, labels, masks)

    def _move(
        self,
        params: SpatialParameters,
        source_size: tuple[int, ...],
        image: np.ndarray,
        labels: Mapping[str, np.ndarray],
        masks: Mapping[str, np.ndarray],
    ) -> tuple[np.ndarray, Arrays, Arrays]:
        if params.exact:
            places = rearrangement(self.frame.matrix(params), source_size, self.frame.patch_size)
            if places is not None:
                return (
                    places.take(np.asarray(image, np.float32)),
                    {name: places.take(array) for name, array in labels.items()},
                    {name: places.take_mask(np.asarray(array, bool)) for name, array in masks.items()},
                )
        resample = resample_plane if self.frame.ndim == 2 else resample_volume
        return resample(self.frame, params, image, labels, masks)

    def _check(
        self, image: np.ndarray, labels: Mapping[str, np.ndarray], masks: Mapping[str, np.ndarray]
    ) -> tuple[int, ...]:
        """Return the spatial size that all arrays share."""
        ndim = self.frame.ndim
        if image.ndim != ndim + 1:
            raise ValueError(f"an image of shape {image.shape} is not (channels, {ndim} spatial axes)")
        size = image.shape[1:]
        for name, array in itertools.chain(labels.items(), masks.items()):
            if array.shape[-ndim:] != size or array.ndim not in (ndim, ndim + 1):
                raise ValueError(f"{name!r} of shape {array.shape} does not lie on an image of size {size}")
        return size


def _largest_source(config: AugmentationConfig, frame: Frame) -> tuple[int, ...]:
    """Return the crop that any draw may need, found by looking at the rotations of the whole range."""
    if not active(config):
        return frame.patch_size
    # Beyond a quarter turn the box only repeats itself.
    limits = np.deg2rad(np.minimum(frame.largest_angles(largest_angle(config)), 90.0))
    angles = [np.linspace(0.0, limits[0], 19), *(np.asarray((-a, 0.0, a)) for a in limits[1:])]
    half = (np.asarray(frame.patch_size) - 1) / 2
    reach = half.copy()
    spacing = np.asarray(frame.spacing)
    tilted = _largest_tilt(largest_shear(config), frame) * (spacing[None, :] / spacing[:, None])
    for drawn in itertools.product(*(a.tolist() for a in angles)):
        params = SpatialParameters((False,) * frame.ndim, 0, drawn, 1 / largest_scale(config))
        reach = np.maximum(reach, tilted @ np.abs(frame.matrix(params)) @ half)
    reach += largest_displacement(config, frame) / spacing
    return frame.context(reach)


def _largest_tilt(angle: float, frame: Frame) -> np.ndarray:
    """Return a matrix in physical units that has no entry below that of any drawn shears."""
    bound = np.eye(frame.ndim)
    for i, j in frame.rotation_planes[: 1 if frame.anisotropic else None]:
        tilt = np.eye(frame.ndim)
        tilt[i, j] = tilt[j, i] = np.tan(angle)
        bound = tilt @ bound
    return bound


def warm_up(ndim: int) -> None:
    """Compile or load what the first patch would otherwise wait for: numba's loops, albumentations.

    Parameters
    ----------
    ndim
        2 or 3.
    """
    if ndim == 2:
        toolbox()
        return
    frame = Frame((4, 4, 4), (1.0, 1.0, 1.0))
    flips = (False, False, False)
    image = np.arange(64, dtype=np.float32).reshape(1, 4, 4, 4)
    resample_volume(frame, SpatialParameters(flips, angles=(0.1, 0.0, 0.0)), image, {}, {})
    change_volume(frame, IntensityParameters(blur=0.5, gamma=(1.1,)), image)
