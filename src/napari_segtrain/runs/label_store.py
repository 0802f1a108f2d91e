"""The labels of a run over its epochs: blocks named after their content, each on the disk once."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from napari_segtrain.config import Config, RunError

from .atomic import dump_json, explain_os_error, read_json, write_bytes, write_json, write_text

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

LABELS = "labels"
"""Folder of a run that holds them."""
_EPOCHS = "epochs.json"
_CONSTANT = "="
_LEVEL = 1
_DAMAGED = "the labels of this epoch cannot be restored from it; those of another epoch may be whole"

Place = tuple[slice, ...]


class StoredArray(Config):
    """The labels, or a mask, of one image at one time."""

    record: str
    """Id of the image; of a stack ``<group>[<index>]``."""
    group: str
    """Layer that the image came from."""
    kind: str
    """``labels`` or ``masks``."""
    name: str
    """Name of the labels: that of their target, unless several targets read them."""
    position: tuple[int, ...]
    """Index of the image in its stack."""
    stack: tuple[int, ...]
    """Shape of the stack; empty for a single image."""
    channels: int
    shape: tuple[int, ...]
    """(z,) y, x."""
    dtype: str
    spacing: tuple[float, ...]
    unit: str
    block: tuple[int, ...]
    """Size of a block, (z,) y, x."""
    blocks: dict[str, str]
    """By number, in array order: the name of its content, or ``=`` and the value that all of it has. Those
    that are not named are 0."""


class Epoch(Config):
    """From this epoch on the labels were these, until the next that is noted."""

    epoch: int
    state: str
    interrupted: bool = False
    """The newest when the training ended and was gone on with: no later epoch has its place, since what was
    painted last, after the last finished epoch, is in no other."""


def block_place(shape: Sequence[int], block: Sequence[int], number: int) -> Place:
    """Return where a block of an array is; they are numbered in array order."""
    place: list[slice] = []
    for n, step in zip(reversed(shape), reversed(block), strict=True):
        number, at = divmod(number, -(-n // step))
        place.insert(0, slice(at * step, min((at + 1) * step, n)))
    return tuple(place)


class LabelStore:
    """Writes and reads the states of labels.

    ``blocks/<name>`` is a block of voxels, compressed (Zstandard), called after a hash of its content, so
    that what does not change is stored once. ``states/<name>.json`` says of every array which blocks it
    is made of. ``epochs.json`` says which state each epoch ended with; so does every checkpoint, under
    the key ``labels``.

    Parameters
    ----------
    run
        The run's folder.
    """

    def __init__(self, run: Path) -> None:
        self.folder = run / LABELS
        self._known: set[str] = set()
        self._goes_on = True

    # --------------------------------------------------------------------------------- writing

    def put(self, block: NDArray[Any]) -> str:
        """Write a block, unless it is known, and return what to call it; empty for zeros.

        Raises
        ------
        RunError
            When the disk is full or not writable.
        """
        import numpy as np
        from numcodecs import Zstd

        first = block.flat[0]
        if block.dtype.kind != "f" and bool((block == first).all()):
            return "" if not first else f"{_CONSTANT}{int(first)}"
        content = np.ascontiguousarray(block, block.dtype.newbyteorder("<"))
        digest = hashlib.blake2b(f"{content.dtype.str}{content.shape}".encode(), digest_size=16)
        digest.update(content.data)
        name = digest.hexdigest()
        path = self._block(name)
        if name not in self._known:
            packed = bytes(Zstd(_LEVEL).encode(content))
            if not _holds(path, packed):
                self._make(path.parent)
                # Not flushed, which takes longer than all else: what a power cut damages is found on reading,
                # and written again by a run that goes on.
                write_bytes(path, packed, flushed=False)
            self._known.add(name)
        return name

    def write_state(self, arrays: Sequence[StoredArray]) -> str:
        """Write which blocks the arrays are made of, and return the name of this state; errors as `put`."""
        text = dump_json([array.to_dict() for array in arrays], indent=None)
        name = hashlib.blake2b(text.encode(), digest_size=16).hexdigest()
        path = self.folder / "states" / f"{name}.json"
        if not path.is_file():
            self._make(path.parent)
            write_text(path, text)
        return name

    def note(self, epoch: int, state: str) -> None:
        """Note that an epoch ended with a state; later epochs, which a resumed run does again, are forgotten.

        What was the newest before the first that is noted here is kept: the run was resumed then, perhaps
        with other labels, and what was painted last before is in no other state.

        Raises
        ------
        RunError
            When the file cannot be read or written.
        """
        known = self.epochs()
        before = known
        if self._goes_on and known:
            before = [*known[:-1], known[-1].replace(interrupted=True)]
        kept = [entry for entry in before if entry.epoch < epoch or entry.interrupted]
        if not kept or kept[-1].state != state or kept[-1].epoch > epoch:
            kept.append(Epoch(epoch=epoch, state=state))
        if kept != known:
            write_json(self.folder / _EPOCHS, [entry.to_dict() for entry in kept])
        self._goes_on = False

    def _make(self, folder: Path) -> None:
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise RunError(f"{folder}: cannot be made ({explain_os_error(error)})") from error

    # --------------------------------------------------------------------------------- reading

    @property
    def kept(self) -> bool:
        """Whether there are labels of any epoch."""
        return (self.folder / _EPOCHS).is_file()

    def epochs(self) -> list[Epoch]:
        """Return from which epochs on the labels were others, oldest first.

        Raises
        ------
        RunError
            When the file is damaged.
        """
        path = self.folder / _EPOCHS
        if not path.is_file():
            return []
        try:
            return [Epoch.model_validate(entry) for entry in read_json(path)]
        except (ValidationError, TypeError) as error:
            raise RunError(f"{path}: is damaged ({type(error).__name__}); restore it from a copy") from None

    def state_of(self, epoch: int | None = None, *, before_resume: bool = False) -> str:
        """Return the state that an epoch ended with.

        Parameters
        ----------
        epoch
            The epoch; None for the newest state.
        before_resume
            Instead of that the newest that the run had when it was last resumed, where it was.

        Raises
        ------
        RunError
            When there is none.
        """
        known = self.epochs()
        if not known:
            raise RunError(
                f"{self.folder.parent}: has kept no labels. A run keeps them from its first checkpoint on, "
                "unless tr_config.keep_labels is false or they are too large; its data.json says where they "
                "were"
            )
        if before_resume:
            return next((entry.state for entry in reversed(known) if entry.interrupted), known[-1].state)
        fitting = [entry for entry in known if epoch is None or entry.epoch <= epoch]
        if not fitting:
            raise RunError(f"{self.folder}: knows labels from epoch {known[0].epoch} on, not of {epoch}")
        return fitting[-1].state

    def arrays(self, state: str) -> list[StoredArray]:
        """Return the arrays of a state; errors as `read`."""
        path = self.folder / "states" / f"{state}.json"
        try:
            return [StoredArray.model_validate(entry) for entry in read_json(path, _DAMAGED)]
        except (ValidationError, TypeError):
            raise RunError(f"{path}: is damaged; {_DAMAGED}") from None

    def read(self, array: StoredArray) -> Iterator[tuple[Place, NDArray[Any]]]:
        """Yield place and content, ``(C, *place)``, of every block that is not 0 throughout.

        Raises
        ------
        RunError
            When a file is missing or damaged.
        """
        import numpy as np

        for number, name in array.blocks.items():
            place = block_place(array.shape, array.block, int(number))
            shape = (array.channels, *(side.stop - side.start for side in place))
            if name.startswith(_CONSTANT):
                yield place, np.full(shape, int(name[1:]), np.dtype(array.dtype))
            else:
                yield place, self._content(name, np.dtype(array.dtype), shape)

    def _content(self, name: str, dtype: np.dtype[Any], shape: tuple[int, ...]) -> NDArray[Any]:
        import numpy as np
        from numcodecs import Zstd

        path = self._block(name)
        try:
            values = np.frombuffer(Zstd().decode(path.read_bytes()), dtype.newbyteorder("<")).reshape(shape)
        except OSError as error:
            raise RunError(f"{path}: cannot be read ({explain_os_error(error)}); {_DAMAGED}") from None
        except (RuntimeError, ValueError):
            raise RunError(f"{path}: is damaged; {_DAMAGED}") from None
        return values.astype(dtype, copy=False)

    def _block(self, name: str) -> Path:
        return self.folder / "blocks" / name


def _holds(path: Path, content: bytes) -> bool:
    try:
        return path.read_bytes() == content
    except OSError:
        return False
