"""Output as a Zarr store: chunk by chunk, and an interrupted prediction goes on where it was."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import zarr

from napari_segtrain.config import RunError

from ..codecs import few_chunks_at_a_time
from ..kept_parts import KEPT_PARTS
from ..layout import BlockLayout
from ..outputs import Output
from ..tiling import Slices
from .base import Job, default_chunks, failures_explained
from .identity import differences, refusal
from .metadata import axis_names, group_attributes, restoring
from .pyramid import Factors, is_averaged, level_factors, level_path, level_size, shrink

_KEY = "segtrain"


class ZarrSink:
    """A group with one array an output, and OME-NGFF metadata for each, with smaller versions for viewers.

    The group's attribute ``segtrain`` holds the settings of the prediction and whether it is complete.
    While it is not, a folder ``.<name>.unfinished`` beside the store lists the finished blocks, and keeps
    what instances are made of; it is removed at the end.

    Parameters
    ----------
    path
        Folder of the store, by custom ending in .zarr. An unfinished store of the same prediction is
        continued and a finished one left as it is; anything else that is there is refused.
    zarr_format
        3, with OME-NGFF 0.5, or 2, with 0.4 for older readers.
    overwrite
        Replace a prediction that is there, whether finished or not. Anything else stays.
    levels
        Add smaller versions.
    keep_parts
        Keep what instances are made of, in the group `KEPT_PARTS` of the store.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        zarr_format: Literal[2, 3] = 3,
        overwrite: bool = False,
        levels: bool = True,
        keep_parts: bool = False,
    ) -> None:
        self.path = Path(path)
        self.title = str(self.path)
        self.scratch: Path | None = self.path.with_name(f".{self.path.name}.unfinished")
        self._unfinished = self.scratch
        self._format = zarr_format
        self._overwrite = overwrite
        self._levels = levels
        self._keep_parts = keep_parts
        self._arrays: dict[str, Any] = {}
        self._outputs: dict[str, Output] = {}
        self._done: set[tuple[tuple[int, int], ...]] = set()
        self._complete = False
        self._job: Job | None = None

    def chunks(self, size: tuple[int, ...], ndim: int) -> tuple[int, ...]:
        """See `Sink.chunks`."""
        return default_chunks(size, ndim)

    def open(self, job: Job, outputs: Sequence[Output], block: tuple[int, ...]) -> tuple[int, ...]:
        """See `Sink.open`.

        Raises
        ------
        RunError
            When the path holds something else, or cannot be written.
        """
        self._outputs = {output.name: output for output in outputs}
        self._job = job
        with failures_explained(self.path):
            identity = job.identity()
            state = self._existing(identity)
            if state is None:
                self._create(job, identity, outputs, block)
                return block
            group = zarr.open_group(str(self.path), mode="r+")
            self._arrays = {o.name: group[o.name] for o in outputs if o.form != "part"}
            self._complete = bool(state["complete"])
            if self._complete:
                shutil.rmtree(self._unfinished, ignore_errors=True)
            else:
                _sweep(self.path, self._unfinished)
                parts = zarr.open_group(str(self._unfinished / "parts.zarr"), mode="r+")
                self._arrays |= {o.name: parts[o.name] for o in outputs if o.form == "part"}
                self._done = self._read_done()
            return tuple(state["block"])

    def pending(self, layout: BlockLayout) -> npt.NDArray[np.bool_]:
        """See `Sink.pending`."""
        pending = np.full(layout.counts, not self._complete)
        for index in layout:
            if tuple((part.start, part.stop) for part in layout.core(index)) in self._done:
                pending[index] = False
        return pending

    @property
    def complete(self) -> bool:
        """See `Sink.complete`."""
        return self._complete

    def write(self, where: Slices, arrays: Mapping[str, npt.NDArray[Any]]) -> None:
        """See `Sink.write`; blocks share no chunk, so they never disturb each other."""
        for name, values in arrays.items():
            self.replace(name, where, values)
        self.note(where)

    def note(self, where: Slices) -> None:
        """Remember that a block is written."""
        bounds = tuple((part.start, part.stop) for part in where)
        with failures_explained(self.path), (self._unfinished / "blocks.jsonl").open("a") as file:
            file.write(json.dumps(bounds) + "\n")
        self._done.add(bounds)

    def read(self, name: str, where: Slices) -> npt.NDArray[Any]:
        """See `Sink.read`."""
        values: npt.NDArray[Any] = np.asarray(self._arrays[name][self._index(name, where)])
        return values if self._outputs[name].channels > 1 else values[None]

    def replace(self, name: str, where: Slices, values: npt.NDArray[Any]) -> None:
        """See `Sink.replace`."""
        with failures_explained(self.path):
            self._arrays[name][self._index(name, where)] = (
                values if self._outputs[name].channels > 1 else values[0]
            )

    def close(self, completed: bool) -> None:
        """See `Sink.close`."""
        if not completed or self._complete:
            return
        with failures_explained(self.path):
            group = zarr.open_group(str(self.path), mode="r+")
            with few_chunks_at_a_time():
                self._add_levels(group)
            group.attrs[_KEY] = {**dict(group.attrs[_KEY]), "complete": True}
            self._complete = True
            if self._keep_parts:
                (self._unfinished / "parts.zarr").rename(self.path / KEPT_PARTS)
            shutil.rmtree(self._unfinished, ignore_errors=True)

    def _add_levels(self, group: Any) -> None:
        """Write smaller versions of every output, and say in the metadata where they are."""
        job, kept = self._job, [output for output in self._outputs.values() if output.form != "part"]
        levels = level_factors(job) if job is not None and self._levels else []
        if job is None or not levels:
            return
        chunks = self.chunks(job.size, job.ndim)
        for output in kept:
            before, larger = (1,) * len(job.size), self._arrays[output.name]
            for number, factors in enumerate(levels, 1):
                smaller = self._array(group, output, job, number, factors)
                step = [f // b for f, b in zip(factors, before, strict=True)]
                shrink(larger, smaller, step, chunks, mean=is_averaged(output))
                before, larger = factors, smaller
        group.attrs.update(group_attributes(kept, job, self._version, levels))

    @property
    def _version(self) -> str:
        return "0.5" if self._format == 3 else "0.4"

    def _index(self, name: str, where: Slices) -> tuple[slice, ...]:
        return (slice(None), *where) if self._outputs[name].channels > 1 else where

    def _existing(self, identity: Mapping[str, Any]) -> Mapping[str, Any] | None:
        """Return what the store says of itself when it is to be continued; None when it is to be made."""
        if not self.path.exists() or (self.path.is_dir() and not any(self.path.iterdir())):
            return None
        try:
            state = dict(zarr.open_group(str(self.path), mode="r").attrs).get(_KEY)
        except (ValueError, KeyError, FileNotFoundError, NotADirectoryError, json.JSONDecodeError):
            state = None
        if not isinstance(state, Mapping):
            raise RunError(
                f"{self.path}: exists and is not a prediction of this program; it is left alone. Choose "
                "another output"
            )
        if self._overwrite:
            return None
        found = differences(state.get("identity"), identity)
        if found:
            raise refusal(self.path, found)
        # Without the record of finished blocks nobody knows what is there.
        return state if state.get("complete") or (self._unfinished / "parts.zarr").is_dir() else None

    def _create(
        self, job: Job, identity: Mapping[str, Any], outputs: Sequence[Output], block: tuple[int, ...]
    ) -> None:
        """Make the store aside and put it in its place at once: a process may be killed at any moment."""
        shutil.rmtree(self._unfinished, ignore_errors=True)
        self._unfinished.mkdir(parents=True)
        parts = zarr.create_group(str(self._unfinished / "parts.zarr"), zarr_format=self._format)
        made = self._unfinished / "new.zarr"
        group = zarr.create_group(str(made), zarr_format=self._format)
        kept = [output for output in outputs if output.form != "part"]
        for output in outputs:
            if output in kept:
                self._array(group, output, job)
            else:
                self._arrays[output.name] = self._array(parts, output, job)
        group.attrs.update(group_attributes(kept, job, self._version))
        group.attrs[_KEY] = {
            "identity": dict(identity),
            "settings": dict(job.settings()),
            "spacing": list(job.spacing),
            "unit": job.unit,
            "origin": list(job.origin),
            "block": list(block),
            "complete": False,
        }
        if self.path.exists():
            self.path.rename(self._unfinished / "old.zarr")
        made.rename(self.path)
        shutil.rmtree(self._unfinished / "old.zarr", ignore_errors=True)
        placed = zarr.open_group(str(self.path), mode="r+")
        self._arrays |= {output.name: placed[output.name] for output in kept}

    def _array(
        self,
        group: Any,
        output: Output,
        job: Job,
        number: int = 0,
        factors: Factors | None = None,
    ) -> Any:
        """Make the array of an output, or of one of its smaller versions."""
        factors = (1,) * len(job.size) if factors is None else factors
        size = level_size(job, factors)
        lead: tuple[int, ...] = (output.channels,) if output.channels > 1 else ()
        names = {"dimension_names": axis_names(output, job)} if self._format == 3 else {}
        return group.create_array(
            level_path(output, number),
            shape=(*lead, *size),
            chunks=(*((1,) * len(lead)), *self.chunks(size, job.ndim)),
            dtype=output.dtype,
            fill_value=0,
            overwrite=number > 0,
            attributes={
                "axes": list(axis_names(output, job)),
                "spacing": [step * f for step, f in zip(job.spacing, factors, strict=True)],
                "unit": job.unit,
                **restoring(output),
            },
            **names,
        )

    def _read_done(self) -> set[tuple[tuple[int, int], ...]]:
        record = self._unfinished / "blocks.jsonl"
        done = set()
        for line in record.read_text().splitlines() if record.is_file() else ():
            try:
                done.add(tuple((int(a), int(b)) for a, b in json.loads(line)))
            except ValueError:
                # The last line of a process that was killed while writing it: its block counts as not done.
                continue
        return done


class SharedZarrSink(ZarrSink):
    """The store of a `ZarrSink` that is open in another process, which remembers what is written here."""

    def join(self, outputs: Sequence[Output]) -> None:
        """Write into the arrays that are there.

        Raises
        ------
        RunError
            When they cannot be opened.
        """
        self._outputs = {output.name: output for output in outputs}
        with failures_explained(self.path):
            group = zarr.open_group(str(self.path), mode="r+")
            parts = zarr.open_group(str(self._unfinished / "parts.zarr"), mode="r+")
        self._arrays = {o.name: (parts if o.form == "part" else group)[o.name] for o in outputs}

    def note(self, where: Slices) -> None:
        """Leave it to the other process, which is told when the whole share of blocks is done."""


def _sweep(store: Path, unfinished: Path) -> None:
    """Remove what a killed process left: chunks half written, sums that waited for other blocks."""
    for file in store.rglob("*.partial"):
        file.unlink(missing_ok=True)
    for folder in unfinished.glob("parked-*"):
        shutil.rmtree(folder, ignore_errors=True)
