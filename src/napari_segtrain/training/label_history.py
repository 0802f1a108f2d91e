"""What the labels of a training were at each checkpoint, so that a model can be traced to them."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import product
from math import prod
from pathlib import Path
from typing import Any

from napari_segtrain.config import DataError, SegtrainError
from napari_segtrain.data import Dataset
from napari_segtrain.data.records import Record
from napari_segtrain.data.written import WrittenChunks
from napari_segtrain.runs.label_store import LabelStore, Place, StoredArray, block_places

logger = logging.getLogger(__name__)

MOST_BYTES = 2**32
"""Labels that were written with more bytes than this are not kept."""
_EDGES = {2: 512, 3: 64}
"""Edge of a block by the number of axes, where labels are not stored in chunks: a stroke touches few."""
_LARGEST_CHUNK = 2**21


@dataclass(eq=False)
class _Followed:
    """One array of labels, and what is known of its blocks."""

    source: Any
    record: Record
    kind: str
    name: str
    block: tuple[int, ...] = field(init=False)
    counts: tuple[int, ...] = field(init=False)
    places: list[Place] = field(init=False)
    names: dict[int, str] = field(default_factory=dict)
    changed: set[int] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.block = _block_size(self.source.shape, self.source.chunks)
        self.counts = tuple(-(-n // b) for n, b in zip(self.source.shape, self.block, strict=True))
        self.places = block_places(self.source.shape, self.block)

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

    Attributes
    ----------
    fault
        Why labels cannot be kept; empty while they can.
    """

    def __init__(self, dataset: Dataset, store: LabelStore) -> None:
        self.store = store
        self.fault = ""
        self._arrays = _arrays_of(dataset)
        self._lock = threading.Lock()
        self._state = ""
        self._over = threading.Event()
        self._reading: threading.Thread | None = None

    @classmethod
    def of(cls, dataset: Dataset, store: LabelStore) -> LabelHistory | None:
        """Return a history of layers; of files there is none: their content is noted with the run."""
        return None if Path(dataset.origin).exists() else cls(dataset, store)

    def start(self) -> None:
        """Begin to read the labels as they are, in a thread."""
        self._reading = threading.Thread(target=self._read_all, name="label-history", daemon=True)
        self._reading.start()

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
        self._state = self._state or self.store.write_state([array.stored() for array in self._each()])
        return self._state

    def close(self) -> None:
        """Read no more."""
        self._over.set()
        if self._reading is not None:
            self._reading.join()

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
            size = 0
            for array in self._each():
                numbers = _written(array)
                voxels = sum(prod(s.stop - s.start for s in array.places[number]) for number in numbers)
                size += voxels * array.source.dtype.itemsize
                with self._lock:
                    array.changed.update(numbers)
            if size > MOST_BYTES:
                self.fault = (
                    f"the labels ({size / 2**30:.1f} GiB) are too large to be kept with the checkpoints "
                    f"(most: {MOST_BYTES / 2**30:.0f} GiB); keep a copy of them yourself"
                )
            else:
                self._catch_up()
        except SegtrainError as error:
            # It is tried again at the first checkpoint, which says so when it still does not work.
            logger.warning("%s", error)

    def _read(self, array: _Followed, number: int) -> None:
        name = self.store.put(array.source.read(array.places[number]))
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


def _written(array: _Followed) -> list[int]:
    """Return the numbers of the blocks in which something may be written."""
    if not array.places:
        return []
    written, _ = WrittenChunks(array.source).divide(array.places)
    numbers = {tuple((s.start, s.stop) for s in place): n for n, place in enumerate(array.places)}
    return [numbers[tuple((s.start, s.stop) for s in place)] for place in written]


def _block_size(shape: Sequence[int], chunks: Sequence[int]) -> tuple[int, ...]:
    """Return the size of blocks: the chunks of a store, which are read as a whole, else a box."""
    if min(chunks) > 1 and prod(chunks) <= _LARGEST_CHUNK:
        return tuple(chunks)
    return tuple(min(_EDGES.get(len(shape), 64), n) for n in shape)
