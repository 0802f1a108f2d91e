"""The one class behind every source: a stored array, and the layout that turns it into an image."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...config import DataError, SegtrainError
from .axes import Layout, resolve_spacing
from .base import Regions
from .stored import OpenOptions, Stored


class ArraySource:
    """A `Source` that reads one image out of a stored array.

    Parameters
    ----------
    stored
        The array in its own axis order.
    layout
        What each of its axes is.
    position
        Index along the stack axes of `layout`; the images of one stack share `stored`.
    options
        What the caller knows beyond the metadata.

    Raises
    ------
    DataError
        When the voxels are not real numbers, or the given spacing does not fit.
    """

    def __init__(
        self, stored: Stored, layout: Layout, position: tuple[int, ...], options: OpenOptions
    ) -> None:
        if stored.dtype.kind not in "biuf":
            raise DataError(
                f"{stored.name}: voxels of type {stored.dtype} cannot be used. Allowed: bool, integers and "
                "floating-point numbers."
            )
        self._stored = stored
        self._layout = layout
        self.position = position
        self._fixed = dict(zip(layout.stack, position, strict=True))
        self.stack: tuple[int, ...] = tuple(stored.shape[axis] for axis in layout.stack)
        self.name = stored.name + (f" [{', '.join(map(str, position))}]" if position else "")
        self.shape: tuple[int, ...] = tuple(stored.shape[axis] for axis in layout.spatial)
        self.channels: int = layout.channels
        self.dtype: np.dtype[Any] = stored.dtype.newbyteorder("=")
        self.spacing: tuple[float, ...] = resolve_spacing(stored, layout, options)
        self.unit: str = stored.unit
        self.path: Path | None = stored.path
        stored_chunks = stored.chunks or (1,) * (len(stored.shape) - 1) + stored.shape[-1:]
        self.chunks: tuple[int, ...] = tuple(
            min(stored_chunks[axis], stored.shape[axis]) for axis in layout.spatial
        )

    def __repr__(self) -> str:
        return f"<ArraySource {self.name!r} {self.channels} x {self.shape} {self.dtype}>"

    @property
    def joined_reads(self) -> bool:
        """Whether several chunks are read faster by one call than one after the other."""
        return self._stored.joined_reads

    @property
    def notes(self) -> tuple[str, ...]:
        """What the user should know about how the array is read."""
        channel = self._layout.channel
        notes = self._stored.notes
        if channel is not None and self._stored.shape[channel] > self.channels:
            notes += (f"{self.name}: the transparency (alpha) channel is not used.",)
        return notes

    def read(self, region: Regions) -> NDArray[Any]:
        """Return ``(C, *region)``; see `Source.read`."""
        bounds = self._bounds(region)
        size = tuple(s.stop - s.start for s in bounds)
        if 0 in size:
            return np.zeros((self.channels, *size), self.dtype)
        layout = self._layout
        index = [slice(self._fixed.get(axis, 0), self._fixed.get(axis, 0) + 1) for axis in self._axes]
        for axis, wanted in zip(layout.spatial, bounds, strict=True):
            index[axis] = wanted
        if layout.channel is not None:
            index[layout.channel] = slice(0, self.channels)
        return self._channels_first(self._fetch(tuple(index)), size)

    def written_boxes(self) -> list[Regions] | None:
        """Return the boxes outside of which all voxels are zero, without reading voxels.

        Returns
        -------
        list of tuple of slice, or None
            The chunks that were ever written, in array order; None when the storage does not know, so
            that every voxel must be looked at.
        """
        boxes = self._stored.written() if self._stored.written is not None else None
        if boxes is None:
            return None
        mine = {
            tuple((box[axis].start, box[axis].stop) for axis in self._layout.spatial)
            for box in boxes
            if all(box[axis].start <= place < box[axis].stop for axis, place in self._fixed.items())
        }
        return [tuple(slice(*bounds) for bounds in box) for box in sorted(mine)]

    @property
    def _axes(self) -> range:
        return range(len(self._stored.shape))

    def _bounds(self, region: Regions) -> Regions:
        if len(region) != len(self.shape):
            raise DataError(
                f"{self.name}: a region of {len(region)} axes was asked of an image with {len(self.shape)}."
            )
        bounds = []
        for wanted, size in zip(region, self.shape, strict=True):
            start = 0 if wanted.start is None else int(wanted.start)
            stop = size if wanted.stop is None else int(wanted.stop)
            if wanted.step not in (None, 1) or not 0 <= start <= stop <= size:
                raise DataError(f"{self.name}: {wanted} lies outside an axis of {size} voxels.")
            bounds.append(slice(start, stop))
        return tuple(bounds)

    def _fetch(self, index: Regions) -> NDArray[Any]:
        try:
            block: NDArray[Any] = np.asarray(self._stored.fetch(index))
        except (SegtrainError, MemoryError):
            raise
        except Exception as error:  # codecs and stores raise types of their own
            place = ", ".join(f"{s.start}:{s.stop}" for s in index)
            raise DataError(
                f"{self.name}: cannot be read at [{place}]; the file is damaged or incomplete "
                f"({type(error).__name__}: {error}). Copy or export it again."
            ) from error
        expected = tuple(s.stop - s.start for s in index)
        if block.shape != expected:
            raise DataError(
                f"{self.name}: {expected} voxels were asked for and {block.shape} came; the array changed "
                "since it was opened. Open it again."
            )
        return block

    def _channels_first(self, block: NDArray[Any], size: tuple[int, ...]) -> NDArray[Any]:
        layout = self._layout
        kept = (*([] if layout.channel is None else [layout.channel]), *layout.spatial)
        order = [axis for axis in self._axes if axis not in kept]
        moved = block.transpose([*order, *kept]).reshape((self.channels, *size))
        result = np.ascontiguousarray(moved, dtype=self.dtype)
        # The caller may change what it gets, and a layer may change while it is read: never a view.
        if np.may_share_memory(result, block) and not (block.flags.owndata and block.flags.writeable):
            result = result.copy()
        return result
