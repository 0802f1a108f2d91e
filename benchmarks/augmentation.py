"""Processor time that augmentation takes a sample, in ms on one core, against the usual ways of doing it.

    python benchmarks/augmentation.py [--samples N]

3D: a 64³ patch with two labels, source crops as the loader reads them, against the same draws done with
scipy, and against nnU-Net's default transforms (batchgeneratorsv2) and MONAI where they are installed:
``pip install -c constraints.txt --group bench``. 2D: a 256² patch with two labels, against one albumentations
pipeline of the same transforms. The ways take turns, so that a busy machine slows all of them alike; the
ratio is what counts: at least 1.5 to nnU-Net's, and at least 1 to albumentations alone.

Intensities of 3D patches once more alone: by the processor, and by a GPU where there is one, which has to
come to the same result.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable
from importlib.util import find_spec

os.environ["NO_ALBUMENTATIONS_UPDATE"] = "1"

import albumentations
import cv2
import numpy as np
import torch
from scipy import ndimage

from napari_segtrain.config import AugmentationConfig
from napari_segtrain.data.augmentation import (
    AugmentationParameters,
    Augmenter,
    SliceLight,
    warm_up,
)
from napari_segtrain.data.augmentation.elastic import basis
from napari_segtrain.data.augmentation.exact import center_offset

Sample = Callable[[int], object]
CONFIG = AugmentationConfig()
TURN = 10
"""Samples of one way before the next has its turn."""


def patch(size: tuple[int, ...]) -> tuple[np.ndarray, dict[str, np.ndarray], dict[str, np.ndarray]]:
    rng = np.random.default_rng(0)
    image = ndimage.gaussian_filter(rng.normal(size=(1, *size)), (0, *(2.0,) * len(size))).astype(np.float32)
    labels = {
        "cells": rng.integers(0, 3, size).astype(np.int32),
        "nuclei": rng.integers(0, 2, size, np.uint8),
    }
    return image, labels, {name: np.ones(size, bool) for name in labels}


def ours(augmenter: Augmenter, masks: bool, moved_only: bool = False) -> Sample:
    """Draw, cut what the draw needs out of a crop (the loader reads it), apply."""
    image, labels, valid = patch(augmenter.source_size())
    largest = augmenter.source_size()
    change = augmenter.move if moved_only else augmenter.apply

    def cut(size: tuple[int, ...]) -> tuple[slice, ...]:
        return tuple(slice((a - b) // 2, (a - b) // 2 + b) for a, b in zip(largest, size, strict=True))

    def sample(seed: int) -> object:
        params = augmenter.draw(np.random.default_rng(seed), image.shape[0])
        part = cut(augmenter.source_size(params))
        return change(
            params,
            image[(slice(None), *part)],
            {name: array[part] for name, array in labels.items()},
            {name: array[part] for name, array in valid.items()} if masks else {},
        )

    return sample


def scipy_volume(augmenter: Augmenter) -> Sample:
    """The same draws, step by step with scipy and numpy."""
    frame = augmenter.frame
    image, labels, _ = patch(augmenter.source_size())

    def sample(seed: int) -> object:
        params = augmenter.draw(np.random.default_rng(seed))
        matrix = frame.matrix(params.spatial)
        offset = center_offset(matrix, image.shape[1:], frame.patch_size)
        if params.spatial.elastic is None:

            def read(array: np.ndarray, order: int) -> np.ndarray:
                return ndimage.affine_transform(
                    array, matrix, offset, frame.patch_size, order=order, mode="mirror"
                )

        else:
            where = np.stack(np.meshgrid(*(np.arange(n) for n in frame.patch_size), indexing="ij"))
            where = np.tensordot(matrix, where, 1) + offset[:, None, None, None]
            bases = [
                basis(k, n) for k, n in zip(params.spatial.elastic.shape[1:], frame.patch_size, strict=True)
            ]
            where += np.einsum("nabc,ax,by,cz->nxyz", params.spatial.elastic, *bases, optimize=True)

            def read(array: np.ndarray, order: int) -> np.ndarray:
                return ndimage.map_coordinates(array, where, order=order, mode="mirror")

        return scipy_intensity(params, read(image[0], 1)), [read(label, 0) for label in labels.values()]

    return sample


def scipy_intensity(params: AugmentationParameters, image: np.ndarray) -> np.ndarray:
    drawn = params.intensity
    if drawn.blur:
        image = ndimage.gaussian_filter(image, drawn.blur)
    if drawn.low_resolution:
        small = ndimage.zoom(image, 1 / drawn.low_resolution, order=0)
        image = ndimage.zoom(small, np.divide(image.shape, small.shape), order=1)
    low, high, mean, std = image.min(), image.max(), image.mean(), image.std()
    if drawn.gamma:
        image = low + (high - low) * ((image - low) / (high - low)) ** np.float32(drawn.gamma[0])
    if drawn.contrast:
        image = (image - mean) * np.float32(drawn.contrast[0]) + mean
    if drawn.brightness:
        image = image + std * np.float32(drawn.brightness[0])
    if isinstance(drawn.illumination, SliceLight):
        gains = np.float32(drawn.illumination.gains)[:, None, None]
        image = (image - mean) * gains + mean + std * np.float32(drawn.illumination.shifts)[:, None, None]
    if drawn.noise:
        noise = np.random.default_rng(drawn.noise.seed).standard_normal(image.shape, dtype=np.float32)
        image = image + std * np.float32(drawn.noise.sigma[0]) * noise
    if drawn.missing:
        image[list(drawn.missing.positions)] = low
    return image


def nnunet_volume(size: tuple[int, ...], source: tuple[int, ...]) -> Sample:
    """The transforms of nnU-Net's default 3D training, less likely than ours and without deformation."""
    from batchgeneratorsv2.transforms.intensity.brightness import MultiplicativeBrightnessTransform
    from batchgeneratorsv2.transforms.intensity.contrast import BGContrast, ContrastTransform
    from batchgeneratorsv2.transforms.intensity.gamma import GammaTransform
    from batchgeneratorsv2.transforms.intensity.gaussian_noise import GaussianNoiseTransform
    from batchgeneratorsv2.transforms.noise.gaussian_blur import GaussianBlurTransform
    from batchgeneratorsv2.transforms.spatial.low_resolution import SimulateLowResolutionTransform
    from batchgeneratorsv2.transforms.spatial.mirroring import MirrorTransform
    from batchgeneratorsv2.transforms.spatial.spatial import SpatialTransform
    from batchgeneratorsv2.transforms.utils.compose import ComposeTransforms
    from batchgeneratorsv2.transforms.utils.random import RandomTransform

    angle = np.pi / 6
    moved = SpatialTransform(
        size, 0, False, p_elastic_deform=0, p_rotation=0.2, rotation=(-angle, angle), p_scaling=0.2,
        scaling=(0.7, 1.4), p_synchronize_scaling_across_axes=1, bg_style_seg_sampling=False,
    )  # fmt: skip
    every = {"synchronize_channels": False, "p_per_channel": 1}
    low = SimulateLowResolutionTransform((0.5, 1), False, True, None, p_per_channel=0.5)
    pipeline = ComposeTransforms([
        moved,
        RandomTransform(GaussianNoiseTransform((0, 0.1), p_per_channel=1, synchronize_channels=True), 0.1),
        RandomTransform(GaussianBlurTransform((0.5, 1.0), False, False, p_per_channel=0.5), 0.2),
        RandomTransform(MultiplicativeBrightnessTransform(BGContrast((0.75, 1.25)), **every), 0.15),
        RandomTransform(ContrastTransform(BGContrast((0.75, 1.25)), True, **every), 0.15),
        RandomTransform(low, 0.25),
        RandomTransform(GammaTransform(BGContrast((0.7, 1.5)), 1, False, 1, 1), 0.1),
        RandomTransform(GammaTransform(BGContrast((0.7, 1.5)), 0, False, 1, 1), 0.3),
        MirrorTransform((0, 1, 2)),
    ])  # fmt: skip
    image, labels, _ = patch(source)
    tensor = torch.from_numpy(image)
    segmentation = torch.from_numpy(np.stack([label.astype(np.int16) for label in labels.values()]))

    def sample(seed: int) -> object:
        np.random.seed(seed)  # noqa: NPY002 - what batchgenerators draws from
        torch.manual_seed(seed)
        return pipeline(image=tensor, segmentation=segmentation)

    return sample


def monai_volume(size: tuple[int, ...], source: tuple[int, ...]) -> Sample:
    """MONAI's transforms with our probabilities; its affine holds rotation and size together."""
    from monai import transforms

    c = CONFIG
    keys = ("image", *patch((2,) * len(size))[1])
    pipeline = transforms.Compose([
        *(transforms.RandFlipd(keys, c.flip, axis) for axis in range(3)),
        transforms.RandAffined(
            keys, size, c.rotate, (np.pi / 6, np.pi / 6, np.pi), scale_range=c.scaling,
            mode=("bilinear", "nearest", "nearest"), padding_mode="reflection",
        ),
        transforms.RandGaussianNoised("image", c.noise),
        transforms.RandGaussianSmoothd("image", prob=c.blur),
        transforms.RandScaleIntensityd("image", 0.2, c.brightness),
        transforms.RandAdjustContrastd("image", c.gamma, (0.7, 1.5)),
        transforms.RandSimulateLowResolutiond("image", c.low_resolution),
        transforms.CenterSpatialCropd(keys, size),
    ])  # fmt: skip
    image, labels, _ = patch(source)
    data = {"image": image} | {name: label[None] for name, label in labels.items()}

    def sample(seed: int) -> object:
        pipeline.set_random_state(seed)
        return pipeline(data)

    return sample


def albumentations_plane(size: tuple[int, ...], source: tuple[int, ...]) -> Sample:
    """One pipeline of albumentations' own transforms with our probabilities."""
    c, a = CONFIG, albumentations
    border = {"border_mode": cv2.BORDER_REFLECT_101}
    pipeline = a.Compose([
        a.HorizontalFlip(p=c.flip),
        a.VerticalFlip(p=c.flip),
        a.Affine(rotate=(-c.rotation, c.rotation), p=c.rotate, **border),
        a.Affine(scale=(1 - c.scaling, 1 + c.scaling), p=c.scale, **border),
        a.ElasticTransform(p=c.elastic, **border),
        a.CenterCrop(*size),
        a.GaussianBlur(p=c.blur),
        a.Downscale((0.5, 0.9), p=c.low_resolution),
        a.RandomGamma(p=c.gamma),
        a.Illumination(p=c.illumination),
        a.RandomBrightnessContrast(p=c.brightness),
        a.GaussNoise(p=c.noise),
    ])  # fmt: skip
    image, labels, _ = patch(source)
    plane = (image[0] - image.min()) / np.ptp(image)

    def sample(seed: int) -> object:
        pipeline.set_random_seed(seed)
        return pipeline(image=plane, masks=list(labels.values()))

    return sample


def milliseconds(ways: dict[str, Sample], samples: int) -> dict[str, float]:
    """Return the mean processor time of each way over the same number of samples, taken in turns."""
    for sample in ways.values():
        sample(0)
    spent = dict.fromkeys(ways, 0.0)
    for first in range(0, samples, TURN):
        for name, sample in ways.items():
            start = time.process_time()
            for seed in range(first, min(first + TURN, samples)):
                sample(seed)
            spent[name] += time.process_time() - start
    return {name: 1e3 * seconds / samples for name, seconds in spent.items()}


def report(title: str, ways: dict[str, Sample], samples: int) -> None:
    times = milliseconds(ways, samples)
    own = next(iter(times.values()))
    print(f"\n{title}")
    for name, value in times.items():
        print(f"  {name:46s} {value:8.2f} ms   {value / own:6.1f} ×")


def report_gpu(edge: int, samples: int) -> None:
    """Intensities of a patch: processor time of the loops, processor and GPU time of the tensors."""
    augmenter = Augmenter(CONFIG, 3, (edge,) * 3, (1.0, 1.0, 1.0))
    image = patch((edge,) * 3)[0]
    draws = [augmenter.draw(np.random.default_rng(seed)) for seed in range(samples)]
    changes = [augmenter.intensities(draw) for draw in draws]
    print(f"\n3D {edge}³, intensities alone, of {samples} draws")
    start = time.process_time()
    expected = [change.on_array(image) for change in changes[:TURN]]
    loops = (time.process_time() - start) / TURN
    print(f"  {'the loops, on the processor':46s} {1e3 * loops:8.2f} ms")
    if not torch.cuda.is_available():
        print(f"  {'torch, on a GPU':46s}  skipped: no GPU")
        return
    tensor = torch.from_numpy(image).cuda()
    for change, result in zip(changes, expected, strict=False):
        np.testing.assert_allclose(change.on_tensor(tensor).cpu().numpy(), result, atol=1e-4)
    begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    torch.cuda.synchronize()
    begin.record()
    start = time.process_time()
    for change in changes:
        change.on_tensor(tensor)
    launching = (time.process_time() - start) / samples
    end.record()
    torch.cuda.synchronize()
    print(f"  {'torch: the processor, handing it over':46s} {1e3 * launching:8.2f} ms")
    print(f"  {f'torch: {torch.cuda.get_device_name()}':46s} {begin.elapsed_time(end) / samples:8.2f} ms")


def volume_ways() -> dict[str, Sample]:
    size = (64, 64, 64)
    augmenter = Augmenter(CONFIG, 3, size, (1.0, 1.0, 1.0))
    ways = {
        "napari-segtrain": ours(augmenter, masks=False),
        "napari-segtrain, with two masks": ours(augmenter, masks=True),
        "napari-segtrain, intensities left to a GPU": ours(augmenter, masks=False, moved_only=True),
        "the same draws by scipy": scipy_volume(augmenter),
    }
    if find_spec("batchgeneratorsv2"):
        ways["nnU-Net default (batchgeneratorsv2)"] = nnunet_volume(size, augmenter.source_size())
    else:
        print("batchgeneratorsv2 is not installed: pip install -c constraints.txt --group bench")
    if find_spec("monai"):
        ways["MONAI"] = monai_volume(size, augmenter.source_size())
    return ways


def plane_ways() -> dict[str, Sample]:
    size = (256, 256)
    augmenter = Augmenter(CONFIG, 2, size, (1.0, 1.0))
    return {
        "napari-segtrain": ours(augmenter, masks=False),
        "napari-segtrain, with two masks": ours(augmenter, masks=True),
        "albumentations alone": albumentations_plane(size, augmenter.source_size()),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--samples", type=int, default=100)
    samples = parser.parse_args().samples
    cv2.setNumThreads(1)
    torch.set_num_threads(1)
    for ndim in (2, 3):
        start = time.perf_counter()
        warm_up(ndim)
        print(f"warm-up {ndim}D: {time.perf_counter() - start:.2f} s")
    report("3D 64³, image and two labels", volume_ways(), samples)
    for edge in (64, 128):
        report_gpu(edge, samples)
    report("2D 256², image and two labels", plane_ways(), samples)


if __name__ == "__main__":
    main()
