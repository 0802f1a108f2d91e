"""A network as the stream wants it: batches of tiles in, weighted predictions of all heads out."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from napari_segtrain.config import RunError
from napari_segtrain.data.heap import keep_no_memory
from napari_segtrain.network import is_out_of_memory
from napari_segtrain.targets import Head

from .activation import channel_ranges, empty_prediction, stack_predictions, stacked_channels
from .mirroring import mirrors
from .pieces import pieces, shorter

_BATCH_SIZES = (1, 2, 4, 8, 16)
_WORTH = 0.95


@dataclass(frozen=True)
class Least:
    """How little of tiles is computed at a time since memory ran out.

    Attributes
    ----------
    batch_size
        Tiles in one pass.
    piece
        Size of the pieces that a tile is computed in; None for whole tiles.
    """

    batch_size: int
    piece: tuple[int, ...] | None = None


class NetworkTiles:
    """Predicts batches of tiles with a network; of fewer tiles, or pieces of one, when memory runs out.

    Parameters
    ----------
    network
        In eval mode, on `device`.
    heads
        Outputs to keep, in the order of the channels that come out.
    device
        Where the network is.
    in_channels
        Channels of the image.
    tile
        Size of a tile in the image, `(z,) y, x`; may have a leading axis of 1 that the network does not
        have, for planes of a stack.
    ndim
        Spatial axes of the network.
    weights
        Weights of a tile, `(*tile)`.
    batch_size
        Tiles in one pass; None is 1 on a processor and measured elsewhere.
    mirroring
        Whether to average over all mirrored versions.
    half
        Whether the network computes in half precision; sums are in full precision in any case. None: on a
        GPU, where that is faster.
    divisor
        What the network's inputs must be divisible by, an axis each.
    least
        What an earlier one of the same tiles came to when memory ran out, and `batch_size` does not count.
    say
        Told what is done about memory that ran out, in words.

    Attributes
    ----------
    least
        What it came to when memory ran out; None while it has not.
    """

    def __init__(
        self,
        network: nn.Module,
        heads: Sequence[Head],
        device: torch.device,
        *,
        in_channels: int,
        tile: tuple[int, ...],
        ndim: int,
        weights: npt.NDArray[np.float32],
        batch_size: int | None = None,
        mirroring: bool = False,
        half: bool | None = None,
        divisor: tuple[int, ...],
        least: Least | None = None,
        say: Callable[[str], None] = lambda sentence: None,
    ) -> None:
        self._network = network
        self._heads = tuple(heads)
        self._device = device
        self._in_channels = in_channels
        self._half = half if half is not None else device.type == "cuda"
        self._tile = tile
        self._size = tile[len(tile) - ndim :]
        self._symmetries = mirrors(ndim) if mirroring else mirrors(ndim)[:1]
        self.channels = sum(map(stacked_channels, heads))
        empty = empty_prediction(heads)
        channel_weights = weights.reshape(1, *weights.shape)
        self.empty = empty.reshape(-1, *(1,) * weights.ndim) * channel_weights if empty is not None else None
        self._weights = torch.from_numpy(weights).reshape(self._size).to(device)
        self._divisor = divisor
        self._say = say
        self.least = least
        self._set_piece(None if least is None else least.piece)
        if least is not None:
            batch_size = least.batch_size
        self.batch_size = batch_size if batch_size is not None else self._measure()
        self._reserve(self.batch_size)

    def load(self, slot: int, values: npt.NDArray[np.float32]) -> None:
        """Copy one tile's image, `(C, *tile)`, into a place of the batch."""
        self._input[slot].copy_(torch.from_numpy(values.reshape(self._in_channels, *self._size)))

    def predict(self, count: int) -> npt.NDArray[np.float32]:
        """Return weighted predictions of the first `count` tiles, `(count, channels, *tile)`.

        The array is used again by the next call.

        Raises
        ------
        RunError
            When even a single tile does not fit into memory.
        """
        try:
            self._forward(count)
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            failed = True
        else:
            failed = False
        if failed:
            # Outside of the handler, where nothing of the failed attempt is held any more.
            self._with_less(count)
        elif self._device.type != "cpu":
            self._host[:count].copy_(self._sum[:count])
        result: npt.NDArray[np.float32] = self._host[:count].numpy()
        return result.reshape(count, self.channels, *self._tile)

    def _with_less(self, count: int) -> None:
        """Predict the loaded tiles with as little at a time as it takes, and go on so from now on."""
        tiles = self._input[:count].clone()
        found = torch.empty((count, *self._sum.shape[1:]))
        before, done = self.batch_size, 0
        self._back_off()
        while done < count:
            size = min(self.batch_size, count - done)
            self._input[:size].copy_(tiles[done : done + size])
            try:
                self._forward(size)
                found[done : done + size] = self._sum[:size]
                done += size
                continue
            except (RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error):
                    raise
            self._back_off()
        self._host[:count] = found
        self._say_less(before)

    def _back_off(self) -> None:
        """Halve the batch, and then the pieces of a single tile.

        Raises
        ------
        RunError
            When there is nothing smaller.
        """
        if self.batch_size > 1:
            self.batch_size //= 2
        else:
            piece = shorter(self._piece or self._size, self._divisor)
            if piece is None:
                raise tile_too_large(self._size, self._device)
            self._set_piece(piece)
        self.least = Least(self.batch_size, self._piece)
        if self._device.type == "cpu":
            keep_no_memory()
        elif self._device.type == "cuda":
            torch.cuda.empty_cache()

    def _set_piece(self, piece: tuple[int, ...] | None) -> None:
        self._piece = piece
        self._pieces = [] if piece is None else pieces(self._size, piece, self._divisor)

    def _say_less(self, before: int) -> None:
        if self._piece is None:
            self._say(
                f"{before} tiles at once do not fit into memory: they are predicted {self.batch_size} at a "
                "time from here on, with the same result"
            )
            return
        tile, piece = (",".join(map(str, size)) for size in (self._size, self._piece))
        self._say(
            f"a tile of {tile} does not fit into memory: it is predicted in overlapping pieces of {piece} "
            "from here on, of which each sees less of its surroundings"
        )

    def _reserve(self, count: int) -> None:
        pinned = self._device.type == "cuda"
        layout = torch.channels_last if len(self._size) == 2 else torch.channels_last_3d
        self._input = torch.empty(
            (count, self._in_channels, *self._size), memory_format=layout, pin_memory=pinned
        )
        shape = (count, self.channels, *self._size)
        self._sum = torch.empty(shape, device=self._device)
        self._one = torch.empty_like(self._sum) if len(self._symmetries) > 1 else self._sum
        self._host = torch.empty(shape, pin_memory=pinned) if self._device.type != "cpu" else self._sum

    @torch.inference_mode()
    def _forward(self, count: int) -> None:
        """Fill `_sum` with predictions times weights."""
        images = self._input[:count].to(self._device, non_blocking=True)
        total = self._sum[:count]
        for number, symmetry in enumerate(self._symmetries):
            if number == 0:
                self._stack(symmetry.apply(images), total)
                continue
            one = self._one[:count]
            self._stack(symmetry.apply(images), one)
            for head, part in zip(self._heads, channel_ranges(self._heads).values(), strict=True):
                turn_back = symmetry.inverse.apply_kind(head.kind)
                total[:, part].add_(turn_back(one[:, part]))
        share = 1.0 / len(self._symmetries)
        total.mul_(self._weights if share == 1.0 else self._weights * share)

    def _stack(self, images: Tensor, out: Tensor) -> None:
        """Fill `out` with the predictions of images, whole or in pieces."""
        if self._piece is None:
            with self._precision():
                outputs = self._network(images)
            stack_predictions(outputs, self._heads, out)
            return
        part = torch.empty((*out.shape[:2], *self._piece), device=out.device)
        every = slice(None), slice(None)
        for piece in self._pieces:
            with self._precision():
                outputs = self._network(images[(*every, *piece.seen)])
            stack_predictions(outputs, self._heads, part)
            out[(*every, *piece.place)] = part[(*every, *piece.inner)]

    def _precision(self) -> Any:
        if not self._half:
            return nullcontext()
        # Processors compute half precision as bf16, if at all.
        kind = torch.bfloat16 if self._device.type == "cpu" else torch.float16
        return torch.autocast(self._device.type, kind)

    def _measure(self) -> int:
        """Return the smallest batch that is about as fast a tile as any."""
        if self._device.type == "cpu":
            return 1
        seconds: dict[int, float] = {}
        for count in _BATCH_SIZES:
            try:
                self._reserve(count)
                self._input.zero_()
                self._timed(count)
                seconds[count] = self._timed(count) / count
            except (RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error):
                    raise
                break
            if len(seconds) > 1 and seconds[count] > _WORTH * min(list(seconds.values())[:-1]):
                break
        fastest = min(seconds.values(), default=0.0)
        return next((count for count, spent in seconds.items() if spent * _WORTH <= fastest), 1)

    def _timed(self, count: int) -> float:
        begin = time.perf_counter()
        self._forward(count)
        # Reading a value waits for the device.
        float(self._sum.reshape(-1)[0])
        return time.perf_counter() - begin


def tile_too_large(tile: Sequence[int], device: torch.device) -> RunError:
    """Return the error that a tile does not fit into memory, with what to do."""
    other = "" if device.type == "cpu" else ", or the processor as device"
    return RunError(
        f"a tile of {','.join(map(str, tile))} does not fit into the memory of {device}: choose a smaller "
        f"tile (inference_config.tile_size){other}"
    )
