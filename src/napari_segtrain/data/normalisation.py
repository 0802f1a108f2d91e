"""Brings intensities to one range: fitted once on the training data, applied alike everywhere."""

from __future__ import annotations

import logging
import math
from typing import TYPE_CHECKING, Any, Literal, Self

import numpy as np
from numpy.typing import NDArray

from ..config import Config, DataError, NormalisationConfig, Percentile
from ..config.fields import key
from .blocks import Box, iter_blocks
from .dataset import Dataset
from .intensity_statistics import IntensityStatistics

if TYPE_CHECKING:
    from .records import Region, Split

logger = logging.getLogger(__name__)

BLOCK_VOXELS = 2**21
"""Voxels (a channel) that are in memory at a time while fitting."""
MOST_VOXELS = 2**27
"""Voxels (a channel) that are looked at; of larger data, blocks are drawn evenly from all regions."""


class Normalisation(Config):
    """A fitted linear map a channel, ``(x - shift) · scale``, optionally cut off to [0, 1].

    It is plain JSON-able data and lives in the checkpoint, so that prediction applies what training did.
    """

    name: Literal["zscore", "percentile", "minmax", "none"] = key(
        "none", "Kind", "How the numbers below were found."
    )
    shift: tuple[float, ...] = key((0.0,), "Shift", "Subtracted first; a number for each channel.")
    scale: tuple[float, ...] = key(
        (1.0,), "Scale", "Multiplied then; 0 for a channel that was constant in the training data."
    )
    clip: bool = key(False, "Cut off", "Whether results are cut off to 0 … 1.")

    @classmethod
    def fit(cls, config: NormalisationConfig, dataset: Dataset, split: Split) -> Self:
        """Fit on the training regions of `split`, block by block, in bounded memory.

        All voxels weigh the same. Data of more than `MOST_VOXELS` voxels is sampled by blocks, with a
        fixed seed: the result depends on the data alone.

        Parameters
        ----------
        config
            Which kind, with its settings.
        dataset
            Where the records are.
        split
            Its training regions are looked at.

        Raises
        ------
        DataError
            When an image holds NaN or infinite values, when images differ in channels, or when every
            channel is constant.
        """
        regions = split.train
        channels = _channels(dataset, regions)
        if config.name == "none":
            return cls(name="none", shift=(0.0,) * channels, scale=(1.0,) * channels)
        statistics = IntensityStatistics(channels, keep_values=isinstance(config, Percentile))
        plan = _plan(dataset, regions)
        total = sum(_voxels(box) for _, box in plan)
        for record, box in plan:
            block = dataset.records[record].image.read(box).reshape(channels, -1)
            check_finite(block, record, box)
            statistics.add(block, total)
        if isinstance(config, Percentile):
            low, high = statistics.percentiles(config.low, config.high)
        else:
            low, high = statistics.minimum, statistics.maximum
        if config.name == "zscore":
            shift, width = statistics.mean, np.sqrt(statistics.squares / max(statistics.count, 1))
        else:
            shift, width = low, high - low
        scale = _scales(width, statistics.maximum - statistics.minimum)
        return cls(
            name=config.name,
            shift=tuple(float(v) for v in shift),
            scale=tuple(float(v) for v in scale),
            clip=config.name == "percentile",
        )

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Self:
        """Return what `to_dict` was called on."""
        return cls.model_validate(values)

    def apply(self, image: NDArray[Any], out: NDArray[np.float32] | None = None) -> NDArray[np.float32]:
        """Normalise an image or a patch.

        Parameters
        ----------
        image
            ``(C, *spatial)`` of any real type. Not changed.
        out
            Array of the same shape that is filled and returned; None for a new one.

        Returns
        -------
        numpy.ndarray
            ``(C, *spatial)`` float32.

        Raises
        ------
        DataError
            When the number of channels is not the fitted one.
        """
        if image.shape[0] != len(self.scale):
            raise DataError(
                f"the image has {image.shape[0]} channel(s), but the normalisation was fitted on "
                f"{len(self.scale)}; use images with {len(self.scale)} channel(s), or name the channel axis "
                "(dataset_config.channel_axis)"
            )
        out = np.empty(image.shape, np.float32) if out is None else out
        # Large integers and doubles lose digits in float32 unless the shift is taken off before.
        exact = np.float64 if image.dtype.itemsize >= 4 and image.dtype != np.float32 else np.float32
        for channel, (shift, scale) in enumerate(zip(self.shift, self.scale, strict=True)):
            target = out[channel]
            np.subtract(image[channel], exact(shift), out=target, dtype=exact, casting="unsafe")
            target *= np.float32(scale)
            if self.clip:
                np.clip(target, 0.0, 1.0, out=target)
        return out


def check_finite(block: NDArray[Any], record: str, box: Box) -> None:
    """Refuse NaN and infinite intensities: one of them makes every weight of a network NaN.

    Parameters
    ----------
    block
        ``(C, …)`` values read from `box`, of any shape with as many voxels.
    record
        Name of the image.
    box
        Where in the image.

    Raises
    ------
    DataError
        Names the image, how many such values there are, and where the first is.
    """
    # A sum is finite only if all its terms are; it is several times faster than looking at each.
    if block.dtype.kind not in "fc" or math.isfinite(block.sum(dtype=np.float64)):
        return
    bad = ~np.isfinite(block).reshape(block.shape[0], -1)
    if not bad.any():
        return
    channel, flat = np.argwhere(bad)[0]
    offset = np.unravel_index(flat, [s.stop - s.start for s in box])
    place = ", ".join(str(int(o) + s.start) for o, s in zip(offset, box, strict=True))
    raise DataError(
        f"image {record!r} has {int(bad.sum())} value(s) that are not numbers (NaN or infinite) between "
        f"{[s.start for s in box]} and {[s.stop for s in box]}, the first at ({place}) of channel {channel}; "
        "replace them by a number, such as 0, and mask the place if it shall not be learned"
    )


def _channels(dataset: Dataset, regions: tuple[Region, ...]) -> int:
    if not regions:
        raise DataError(
            "there is no training image to fit the normalisation on; add images to the train part"
        )
    first: int = dataset.records[regions[0].record].image.channels
    for region in regions:
        channels = dataset.records[region.record].image.channels
        if channels != first:
            raise DataError(
                f"image {region.record!r} has {channels} channel(s), but {regions[0].record!r} has {first}; "
                "all images need the same channels"
            )
    return first


def _voxels(box: Box) -> int:
    return math.prod(s.stop - s.start for s in box)


def _plan(dataset: Dataset, regions: tuple[Region, ...]) -> list[tuple[str, Box]]:
    """Return the blocks to read: all of them, or of large data an even draw that stays affordable."""
    limit = max(4096, min(BLOCK_VOXELS, MOST_VOXELS // len(regions)))
    plan: list[tuple[str, Box]] = []
    share = MOST_VOXELS / sum(math.prod(r.shape) for r in regions)
    random = np.random.default_rng(0)
    for region in regions:
        chunks = dataset.records[region.record].image.chunks
        boxes = iter_blocks(region.start, region.stop, chunks, limit)
        if share < 1:
            count = max(1, int(len(boxes) * share))
            boxes = [boxes[i] for i in sorted(random.choice(len(boxes), count, replace=False))]
        plan.extend((region.record, box) for box in boxes)
    return plan


def _scales(width: NDArray[Any], extent: NDArray[Any]) -> NDArray[Any]:
    """Return 1 / width, 0 where a channel is constant, which is reported, or refused if all are."""
    constant = extent <= 0
    if constant.all():
        raise DataError(
            "the training images are constant: every voxel of a channel has the same value, so that there is "
            "nothing to learn from. Check that the right layer, resolution level or channel axis is chosen"
        )
    if constant.any():
        names = ", ".join(str(i) for i in np.flatnonzero(constant))
        logger.warning("channel %s is constant in the training images and will be ignored", names)
    return np.where(constant, 0.0, 1.0 / np.where(constant, 1.0, width))
