"""2D by albumentations: its transforms do the work, with parameters that were drawn and recorded before.

Each transform is made once and its ``apply`` called with explicit parameters. Compared with
``albumentations.Compose`` nothing is drawn inside (so threads share the transforms safely), and channels
pass one at a time, so that their number does not matter.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from .elastic import basis
from .exact import center_offset
from .frame import Frame
from .parameters import CONSTANT, Gradient, IntensityParameters, SpatialParameters, for_channel

HEADROOM = 0.25
"""Share of [0, 1] that is kept free below and above the patch's own range, because albumentations cuts
images at 0 and 1 and noise or brightness would be cut with them."""


@dataclass(frozen=True)
class Toolbox:
    """The albumentations transforms in use; all of them are called through ``apply(image, **parameters)``."""

    linear: Any
    nearest: Any
    inside: Any
    blur: Any
    gamma: Any
    contrast: Any
    illumination: Any
    noise: Any
    resize: Any


@functools.cache
def toolbox() -> Toolbox:
    """Import albumentations (about 2 s) and return its transforms.

    Importing it asks PyPI for a newer version unless told not to: training must not touch the network.
    """
    os.environ["NO_ALBUMENTATIONS_UPDATE"] = "1"
    import albumentations
    import cv2
    from albumentations.augmentations.geometric import functional

    reflected, constant = cv2.BORDER_REFLECT_101, cv2.BORDER_CONSTANT
    # ElasticTransform.apply reads the image at any pair of coordinate maps, whatever they describe.
    remap = albumentations.ElasticTransform
    return Toolbox(
        linear=remap(interpolation=cv2.INTER_LINEAR, border_mode=reflected),
        nearest=remap(interpolation=cv2.INTER_NEAREST, border_mode=reflected),
        inside=remap(interpolation=cv2.INTER_NEAREST, border_mode=constant, fill=0),
        blur=albumentations.GaussianBlur(),
        gamma=albumentations.RandomGamma(),
        contrast=albumentations.RandomBrightnessContrast(),
        illumination=albumentations.Illumination(mode="linear"),
        noise=albumentations.GaussNoise(),
        # albumentations.Downscale would round the image to 256 levels on its way.
        resize=functools.partial(functional.resize, interpolation=cv2.INTER_LINEAR),
    )


def resample_plane(
    frame: Frame,
    params: SpatialParameters,
    image: np.ndarray,
    labels: Mapping[str, np.ndarray],
    masks: Mapping[str, np.ndarray],
) -> tuple[np.ndarray, dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Apply `params` to a crop that has the patch at its centre.

    One pair of coordinate maps holds flips, turns, rotation, size and deformation together. Outside the
    crop, image and labels are reflected and masks are False.

    Parameters
    ----------
    frame
        Size and spacing of the patch.
    params
        What was drawn.
    image
        ``(C, Y, X)`` float32.
    labels, masks
        ``(Y, X)`` or ``(C, Y, X)``; labels of any type of 1, 2, 4 or 8 bytes, masks bool.

    Returns
    -------
    tuple
        Image, labels and masks with the size of the patch; types as given.
    """
    tools = toolbox()
    y, x = _maps(frame, params, image.shape[1:])

    def read(tool: Any, array: np.ndarray) -> np.ndarray:
        planes = array.reshape(-1, *array.shape[-2:])
        read_planes = [_move(tool, plane, y, x) for plane in planes]
        return np.stack(read_planes).reshape(*array.shape[:-2], *frame.patch_size)

    result = np.empty((image.shape[0], *frame.patch_size), np.float32)
    for channel, out in zip(np.ascontiguousarray(image, np.float32), result, strict=True):
        out[...] = tools.linear.apply(channel, map_x=x, map_y=y)
    return (
        result,
        {name: read(tools.nearest, np.ascontiguousarray(array)) for name, array in labels.items()},
        {name: read(tools.inside, np.ascontiguousarray(array, bool)) for name, array in masks.items()},
    )


def _maps(
    frame: Frame, params: SpatialParameters, source_size: tuple[int, ...]
) -> tuple[np.ndarray, np.ndarray]:
    """Return the source coordinates ``(y, x)`` of every pixel of the patch, float32."""
    matrix = frame.matrix(params)
    offset = center_offset(matrix, source_size, frame.patch_size)
    rows, columns = (np.arange(n) for n in frame.patch_size)
    maps = []
    for axis in range(2):
        down = (offset[axis] + matrix[axis, 0] * rows).astype(np.float32)
        along = (matrix[axis, 1] * columns).astype(np.float32)
        coordinate = down[:, None] + along[None, :]
        if params.elastic is not None:
            nodes = (params.elastic[axis] / frame.spacing[axis]).astype(np.float32)
            by, bx = (basis(k, n) for k, n in zip(nodes.shape, frame.patch_size, strict=True))
            coordinate += (by.T @ nodes) @ bx
        maps.append(coordinate)
    return maps[0], maps[1]


def _move(tool: Any, plane: np.ndarray, y: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Read the nearest pixels of a plane of any type, as words that OpenCV knows."""
    word = np.uint8 if plane.dtype.itemsize == 1 else np.uint16
    words = plane.dtype.itemsize // np.dtype(word).itemsize
    pixels = plane.view(word).reshape(*plane.shape, words)
    moved = np.ascontiguousarray(tool.apply(pixels, map_x=x, map_y=y))
    return moved.reshape(y.shape[0], -1).view(plane.dtype)


def change_plane(frame: Frame, params: IntensityParameters, image: np.ndarray) -> np.ndarray:
    """Apply `params` to a patch, in the order of a microscope: optics, light, detector.

    Parameters
    ----------
    frame
        Size and spacing of the patch.
    params
        What was drawn; missing slices have no meaning here.
    image
        ``(C, Y, X)`` float32; not changed.

    Returns
    -------
    numpy.ndarray
        ``(C, Y, X)`` float32; the image itself when nothing was drawn.
    """
    if params.identity:
        return image
    image = np.asarray(image, np.float32)
    out = np.empty(image.shape, np.float32)
    fields = None
    if params.noise is not None:
        fields = np.random.default_rng(params.noise.seed).standard_normal(image.shape, dtype=np.float32)
    for channel in range(image.shape[0]):
        noise = None
        if params.noise is not None and fields is not None:
            noise = fields[channel] * np.float32(for_channel(params.noise.sigma, channel, image.shape[0]))
        out[channel] = _change_channel(frame, params, (channel, image.shape[0]), image[channel], noise)
    return out


def _change_channel(
    frame: Frame,
    params: IntensityParameters,
    channel: tuple[int, int],
    plane: np.ndarray,
    noise: np.ndarray | None,
) -> np.ndarray:
    """Change one channel ``(Y, X)`` on a reversible map of its range to [0, 1]."""
    low, high = float(plane.min()), float(plane.max())
    if high - low <= CONSTANT:
        return plane
    tools = toolbox()
    unit = (plane - np.float32(low)) * np.float32(1 / (high - low))
    unit = _change_within(frame, params, channel, unit)
    if not (params.contrast or params.brightness or noise is not None):
        return unit * np.float32(high - low) + np.float32(low)
    room = 1 - 2 * HEADROOM
    mean, std = float(unit.mean()), float(unit.std())
    factor = 1.0 if params.contrast is None else for_channel(params.contrast, *channel)
    shift = 0.0 if params.brightness is None else for_channel(params.brightness, *channel) * std
    unit = tools.contrast.apply(
        unit, alpha=room * factor, beta=room * (mean * (1 - factor) + shift) + HEADROOM
    )
    if noise is not None:
        unit = tools.noise.apply(unit, noise_map=noise * np.float32(std * room))
    unit -= np.float32(HEADROOM)
    unit *= np.float32((high - low) / room)
    unit += np.float32(low)
    return np.asarray(unit)


def _change_within(
    frame: Frame, params: IntensityParameters, channel: tuple[int, int], unit: np.ndarray
) -> np.ndarray:
    """Apply what stays within [0, 1] by itself: blur, resolution, gamma, illumination."""
    tools = toolbox()
    if params.blur is not None:
        radius = int(np.ceil(3 * params.blur))
        kernel = np.exp(-0.5 * (np.arange(-radius, radius + 1) / params.blur) ** 2)
        unit = tools.blur.apply(unit, kernel=(kernel / kernel.sum()).astype(np.float32))
    if params.low_resolution is not None:
        size = tuple(
            n if coarse else max(round(n / params.low_resolution), 1)
            for n, coarse in zip(unit.shape, frame.coarse, strict=True)
        )
        unit = tools.resize(tools.resize(unit, size), unit.shape)
    if params.gamma is not None:
        unit = tools.gamma.apply(unit, gamma=for_channel(params.gamma, *channel))
    if isinstance(params.illumination, Gradient):
        light = params.illumination
        # Darkened first, so that the bright side has somewhere to go.
        unit = tools.illumination.apply(
            unit * np.float32(1 / (1 + light.depth)), intensity=light.depth, angle=light.angle
        ) * np.float32(1 + light.depth)
    return np.asarray(unit)
