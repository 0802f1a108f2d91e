"""What goes into a network and comes out of it, block by block, and how far that is."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from napari_segtrain.config import DataError
from napari_segtrain.data.normalisation import Normalisation
from napari_segtrain.data.sources import Source
from napari_segtrain.network import MultiTaskNetwork, is_out_of_memory, lost_device, maybe_compile
from napari_segtrain.runs import DeviceLostError

from .activation import channel_ranges, is_direction, renormalise, stacked_channels
from .outputs import OutputPlan
from .sinks import Sink
from .stream import ProgressCallback
from .tile_model import tile_too_large
from .tiling import Slices

_FORWARD_SHARE = 1 / 3
"""Time of a pass, of that of a training step."""


def prepare_image(
    normalisation: Normalisation, name: str, raw: npt.NDArray[Any], image: npt.NDArray[np.float32]
) -> None:
    """Normalise what was read, `(C, *part)`, into `image` of the same shape.

    Raises
    ------
    DataError
        When it holds values that are not numbers; names the image.
    """
    normalisation.apply(raw, out=image)
    # One value that is not a number makes the sum so; looking at each is several times slower.
    if (
        raw.dtype.kind == "f"
        and not np.isfinite(image.sum(dtype=np.float64))
        and not np.isfinite(image).all()
    ):
        raise DataError(
            f"{name} holds values that are not numbers (NaN, infinite, or too large for 32 bits). "
            "Replace them by a number, such as 0."
        )


def write_block(
    sink: Sink, plan: OutputPlan, where: Slices, block: npt.NDArray[np.float32]
) -> Callable[[], None]:
    """Return what writes a block of stacked predictions in the forms that are asked for."""
    for head, part in zip(plan.heads, channel_ranges(plan.heads).values(), strict=True):
        if is_direction(head):
            renormalise(block[part])
    arrays = {output.name: output.encode(block) for output in plan.streamed}
    return lambda: sink.write(where, arrays)


def scaled(progress: ProgressCallback | None, share: float) -> ProgressCallback | None:
    """Return a callback that reports the first `share` of the work, or the last when negative."""
    if progress is None:
        return None
    report = progress
    if share < 0:
        return lambda fraction, left: report(1.0 + share * (1.0 - fraction), left)
    return lambda fraction, left: report(share * fraction, left)


def bytes_per_voxel(source: Source, plan: OutputPlan) -> float:
    """Return what an open block takes for each of its voxels."""
    sums = 4 * sum(map(stacked_channels, plan.heads))
    # The block being predicted and the one read ahead, and the normalised image.
    image = source.channels * (2 * source.dtype.itemsize + 4)
    written = sum(output.channels * output.dtype.itemsize for output in plan.streamed)
    return float(sums + image + written)


@contextmanager
def device_explained(tile: Sequence[int], device: torch.device) -> Iterator[None]:
    """Say which tile did not fit, or that the GPU is lost, in the place of whatever says so inside.

    Raises
    ------
    RunError
        When memory ran out.
    DeviceLostError
        When the GPU stopped working.
    """
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if lost := lost_device(error):
            raise DeviceLostError(lost) from error
        if not is_out_of_memory(error):
            raise
        raise tile_too_large(tile, device) from error


def compile_if_worth(
    network: nn.Module,
    patch_size: Sequence[int],
    device: torch.device,
    tile: Sequence[int],
    passes: int,
    batch_size: int | None,
) -> bool:
    """Compile a network where so many passes of a tile are worth the wait; return whether it is compiled.

    Parameters
    ----------
    network, patch_size, device
        What predicts, and where.
    tile, passes, batch_size
        Size of a tile, how many there are, and how many are predicted at once (None: not known yet).
    """
    if not isinstance(network, MultiTaskNetwork):
        return False
    steps = int(passes * np.prod(tile) / np.prod(patch_size) * _FORWARD_SHARE)
    batch = batch_size or 1
    return maybe_compile(network, device.type, batch_size=batch, expected_steps=steps // batch)


@contextmanager
def evaluating(network: nn.Module) -> Iterator[None]:
    """Put a network into eval mode, and every module back into its own mode afterwards."""
    modes = [(module, module.training) for module in network.modules()]
    network.eval()
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training
