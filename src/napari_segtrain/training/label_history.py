"""What the labels of a training were at each checkpoint, so that a model can be traced to them."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import product
from math import prod
from typing import Any

from napari_segtrain.config import DataError, SegtrainError
from napari_segtrain.data import Dataset, full_region
from napari_segtrain.data.records import Record
from napari_segtrain.runs.label_files import write_newest
from napari_segtrain.runs.label_store import LabelStore, Place, StoredArray, block_place

logger = logging.getLogger(__name__)

_EDGES = {2: 512, 3: 64}
"""Edge of a block by the number of axes, where labels are not stored in chunks: a stroke touches few."""
_SMALLEST = 2**15
"""Voxels of a block at least: of smaller chunks several make one, or there were too many files."""


@dataclass(eq=False)
class _Followed:
    """One array of labels, and what is known of its blocks."""

    source: Any
    record: Record
    kind: str
    name: str
    block: tuple[int, ...] = field(init=False)
    counts: tuple[int, ...] = field(init=False)
    names: dict[int, str] = field(default_factory=dict)
    changed: set[int] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.block = _block_size(self.source.shape, self.source.chunks)
        self.counts = tuple(-(-n // b) for n, b in zip(self.source.shape, self.block, strict=True))

    def written(self) -> list[Place]:
        """Return the boxes in which something may be written; of a store that knows it these alone."""
        ask = getattr(self.source, "written_boxes", None)
        boxes: list[Place] | None = None if ask is None else ask()
        return [full_region(self.source.shape)] if boxes is None else boxes

    def touch(self, bounds: Iterable[tuple[int, int]]) -> None:
        """Note that the blocks of a box have new values."""
        sides = [
            range(low // b, min(-(-high // b), n))
            for (low, high), b, n in zip(bounds, self.block, self.counts, strict=True)
        ]
        for place in product(*sides):
            number = 0
            for at, n in zip(place, self.counts, strict=True):
                number = number * n + at
            self.changed.add(number)

    def stored(self) -> StoredArray:
        """Return what is to be written of it."""
        source = self.source
        return StoredArray(
            record=self.record.id,
            group=self.record.group or self.record.id,
            kind=self.kind,
            name=self.name,
            position=tuple(getattr(source, "position", ())),
            stack=tuple(getattr(source, "stack", ())),
            channels=source.channels,
            shape=source.shape,
            dtype=source.dtype.str,
            spacing=self.record.spacing,
            unit=self.record.image.unit,
            block=self.block,
            blocks={str(number): self.names[number] for number in sorted(self.names)},
        )


class LabelHistory:
    """Follows the labels of a training: what changes is read again at the next checkpoint, nothing else.

    Parameters
    ----------
    dataset
        The data that is trained on.
    store
        Keeps the states.
    most_gib
        Labels that were written with more GiB than this are not kept.

    Attributes
    ----------
    fault
        Why labels cannot be kept; empty while they can.
    """

    def __init__(self, dataset: Dataset, store: LabelStore, most_gib: float = 4.0) -> None:
        self.store = store
        self.fault = ""
        self._most = most_gib
        self._blocks = self._done = 0
        self._arrays = _arrays_of(dataset)
        self._painted = dataset.layers
        self._said = False
        self._lock = threading.Lock()
        self._state = ""
        self._over = threading.Event()
        self._reading: threading.Thread | None = None

    def start(self) -> None:
        """Begin to read the labels as they are, in a thread."""
        self._reading = threading.Thread(target=self._read_all, name="label-history", daemon=True)
        self._reading.start()

    @property
    def share(self) -> float:
        """How much of the labels as they were at the start is read, 0 to 1."""
        return min(1.0, self._done / self._blocks) if self._blocks else 0.0

    def wait(self, seconds: float) -> bool:
        """Wait for the thread of `start`, at most so many seconds; return whether it is done."""
        if self._reading is not None:
            self._reading.join(seconds)
        return self._reading is None or not self._reading.is_alive()

    def labels_changed(
        self, record: str, target: str, bounds: Sequence[tuple[int, int]], done: tuple[int, int] = (0, 0)
    ) -> bool:
        """Take note of painted labels, as `PatchLoader.labels_changed`; no patch is touched by that."""
        with self._lock:
            for array in self._arrays.get((record, target), ()):
                array.touch(bounds)
        return False

    def state(self) -> str:
        """Write the labels as they are now, and return the name of this state.

        Raises
        ------
        RunError
            When the disk is full or not writable.
        DataError
            When the labels cannot be read.
        """
        if self._reading is not None:
            self._reading.join()
        if self.fault:
            raise DataError(self.fault)
        self._catch_up()
        if not self._state:
            self._state = self.store.write_state([array.stored() for array in self._each()])
            self._write_newest()
        return self._state

    def keep_rest(self, epoch: int) -> None:
        """Keep what was painted after the last checkpoint, when there is something.

        Parameters
        ----------
        epoch
            The epoch that would learn from it, counted from 1.
        """
        if not self.wait(0.0) or not any(array.changed for array in self._each()):
            return
        try:
            self.store.note(epoch, self.state())
        except (SegtrainError, OSError, MemoryError) as error:
            # Also after a training that failed, whose own reason shall be the one that is told.
            logger.warning("what was painted last is not kept: %s", error)

    def close(self) -> None:
        """Read no more."""
        self._over.set()
        if self._reading is not None:
            self._reading.join()

    def _write_newest(self) -> None:
        """Bring the files of what is painted in a viewer up to date; the blocks are there without them."""
        painted = [array.stored() for array in self._each() if array.record.id in self._painted]
        if not painted or self._over.is_set():
            return
        try:
            write_newest(self.store, painted)
        except SegtrainError as error:
            if not self._said:
                logger.warning("the painted labels are kept, but not as Zarr: %s", error)
            self._said = True

    def _catch_up(self) -> None:
        """Read what has changed; what cannot be read, or kept, is tried again the next time."""
        for array in self._each():
            with self._lock:
                changed, array.changed = array.changed, set()
            if changed:
                self._state = ""
            try:
                for number in sorted(changed):
                    if self._over.is_set():
                        break
                    self._read(array, number)
                    changed.discard(number)
            finally:
                with self._lock:
                    array.changed |= changed

    def _each(self) -> list[_Followed]:
        return list(dict.fromkeys(array for arrays in self._arrays.values() for array in arrays))

    def _read_all(self) -> None:
        try:
            written = {array: array.written() for array in self._each()}
            size = sum(_bytes(array.source, boxes) for array, boxes in written.items())
            if size > self._most * 2**30:
                self.fault = (
                    f"they have {size / 2**30:.3g} GiB, and tr_config.keep_labels_up_to is {self._most:g} "
                    "GiB; keep a copy of them yourself, or allow more"
                )
                return
            with self._lock:
                for array, boxes in written.items():
                    for box in boxes:
                        array.touch((side.start, side.stop) for side in box)
                self._blocks = sum(len(array.changed) for array in written)
            self._catch_up()
            self._write_newest()  # here, and not at the first checkpoint, which would wait for it
        except SegtrainError as error:
            # It is tried again at the first checkpoint, which says so when it still does not work.
            logger.warning("%s", error)

    def _read(self, array: _Followed, number: int) -> None:
        source = array.source
        name = self.store.put(source.read(block_place(source.shape, array.block, number)))
        self._done += 1
        if name:
            array.names[number] = name
        else:
            array.names.pop(number, None)


def _arrays_of(dataset: Dataset) -> dict[tuple[str, str], list[_Followed]]:
    """Return the arrays of each record and target; one that several targets read is there once."""
    known: dict[int, _Followed] = {}
    found: dict[tuple[str, str], list[_Followed]] = {}
    for record in dataset.records.values():
        for kind, sources in (("labels", record.labels), ("masks", record.masks)):
            for target, source in sources.items():
                config = dataset.targets.get(target)
                named = None if config is None else (config.labels if kind == "labels" else config.mask)
                if id(source) not in known:
                    known[id(source)] = _Followed(source, record, kind, named or target)
                found.setdefault((record.id, target), []).append(known[id(source)])
    return found


def _bytes(source: Any, boxes: Iterable[Place]) -> int:
    voxels = sum(prod(side.stop - side.start for side in box) for box in boxes)
    return int(voxels * source.channels * source.dtype.itemsize)


def _block_size(shape: Sequence[int], chunks: Sequence[int]) -> tuple[int, ...]:
    """Return the size of blocks: the chunks of a store, each of which is decoded once, else a box."""
    if sum(n > 1 for n in chunks) < 2:
        return tuple(min(_EDGES.get(len(shape), 64), n) for n in shape)
    block = list(chunks)
    while prod(block) < _SMALLEST and (short := [axis for axis, n in enumerate(shape) if block[axis] < n]):
        block[min(short, key=lambda axis: block[axis])] *= 2
    return tuple(block)
