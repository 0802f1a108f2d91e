"""Where sums wait that belong to blocks of the output which are not open yet."""

from __future__ import annotations

import shutil
import tempfile
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt

from napari_segtrain.data.heap import Reused


class Parking:
    """Partial sums for later blocks, on disk where a folder is given, else in memory.

    It is a layer about as thick as tiles overlap across the whole volume, which is why it goes to disk when
    a volume may exceed memory.

    Parameters
    ----------
    folder
        Existing folder in which a temporary one is made, removed by `close`. None keeps all in memory.
    """

    def __init__(self, folder: Path | None) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="parked-", dir=folder)) if folder is not None else None
        self._sources: dict[int, list[int]] = defaultdict(list)
        self._kept: dict[tuple[int, int], npt.NDArray[np.float32]] = {}
        self._shapes: dict[tuple[int, int], tuple[int, ...]] = {}
        self._passing = Reused()

    def put(self, block: int, source: int, values: npt.NDArray[np.float32]) -> None:
        """Keep a copy of what one block has summed up for another.

        Parameters
        ----------
        block
            Running number of the block that will take it.
        source
            Running number of the block that it comes from.
        values
            Sums so far, of any shape.
        """
        self._sources[block].append(source)
        if self._folder is None:
            self._kept[block, source] = values.copy()
        else:
            own = self._passing.array(values.shape)
            own[...] = values
            self._shapes[block, source] = values.shape
            own.tofile(self._file(self._folder, block, source))

    def take(self, block: int) -> Iterator[tuple[int, npt.NDArray[np.float32]]]:
        """Give out, and forget, what was kept for a block: sources and their sums, in the order they came.

        Each array is valid until the next one is asked for.
        """
        for source in self._sources.pop(block, ()):
            kept = self._kept.pop((block, source), None)
            if kept is not None:
                yield source, kept
            elif self._folder is not None:
                path = self._file(self._folder, block, source)
                values = self._passing.array(self._shapes.pop((block, source)))
                with path.open("rb") as file:
                    file.readinto(values.data)
                yield source, values
                path.unlink()

    def close(self) -> None:
        """Forget everything."""
        self._sources.clear()
        self._kept.clear()
        self._shapes.clear()
        self._passing.free()
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)

    @staticmethod
    def _file(folder: Path, block: int, source: int) -> Path:
        return folder / f"{block}-{source}"
