"""Where to label next: the regions of the data that a trained network doubts most."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from napari_segtrain.config import ConfigError, DataError, RunError, TargetConfig
from napari_segtrain.data import PARTS, Record, Region, Split, is_store, open_dataset
from napari_segtrain.inference import (
    REASONS,
    Cells,
    CellSink,
    Doubt,
    Doubtful,
    Outcome,
    PredictionCancelledError,
    Predictor,
    Trained,
    load_trained,
    rank_regions,
)
from napari_segtrain.network import resolve_hardware
from napari_segtrain.runs import (
    Control,
    DoubtfulRegion,
    Emit,
    PredictProgress,
    RegionsRanked,
    Warned,
    find_run,
    ignore,
    read_data,
)
from napari_segtrain.targets.labels import label_masks

from .images import ImageReader

_OVERLAP = 0.25
"""Of tiles; regions are sums over many voxels, so that seams matter little."""

By = Literal["all", "unsure", "outputs", "mirrors"]


@dataclass(frozen=True)
class Suggested:
    """What to label next.

    Attributes
    ----------
    regions
        The regions, best first.
    epoch
        Epoch of the weights; None where that is not known.
    words
        Why there are none, or fewer than were asked for; empty otherwise.
    """

    regions: tuple[Doubtful, ...]
    epoch: int | None
    words: str = ""


def label_next(
    run: str | Path,
    data: str | Path | Mapping[str, Any] | None = None,
    *,
    number: int = 20,
    size: Sequence[int] | None = None,
    by: By = "all",
    targets: Sequence[str] = (),
    checkpoint: Literal["best", "last"] = "last",
    device: str = "auto",
    emit: Emit = ignore,
    control: Control | None = None,
) -> Suggested:
    """Rank the regions whose labels would teach a network most: those it doubts and that have none.

    Labelled voxels count as free of doubt. Of images that the run knows, only what it trains on is
    proposed: from labels elsewhere it would not learn. Memory is bounded: of an image only sums over cells
    are kept, a quarter of a region wide.

    Parameters
    ----------
    run
        Run folder, also of a run that is in training, or checkpoint file.
    data
        An image, a folder of images, a data folder with labels, or ``{"layers": […]}``; None: what the run
        is trained on.
    number
        How many regions at most.
    size
        Size of a region in voxels, in array order; None: half the training patch.
    by
        What counts: all reasons alike, or one of them (see `Measure`).
    targets
        Targets that count; all when empty.
    checkpoint
        Which weights of a run; the last ones are those of a training under way.
    device
        Where to compute.
    emit
        Told `PredictProgress` and `Warned`.
    control
        A stop ends it.

    Raises
    ------
    ConfigError, DataError, RunError
        When settings, data or checkpoint cannot work.
    PredictionCancelledError
        When `control` was told to stop.
    """
    _check(number, by)
    control = control if control is not None else Control()
    trained = load_trained(run, checkpoint)
    doubt = _doubt(trained, targets)
    size = _size(trained, size)
    records, messages = _records(run, trained, data)
    predictor = _predictor(trained, doubt, device)
    split = _split_of(run)
    places = [(record, _trained_on(record, split)) for record in records]
    places = [(record, regions) for record, regions in places if regions]
    found: list[Cells] = []
    for place, (record, regions) in enumerate(places):

        def progress(fraction: float, left: float | None, place: int = place, name: str = record.id) -> None:
            share = (place + fraction) / len(places)
            emit(
                PredictProgress(fraction=share, seconds_left=left if len(places) == 1 else None, record=name)
            )

        box = _around(regions)
        stack = len(record.shape) - len(size)
        may = _Open(record, trained, regions)
        sink = CellSink(record.id, box, (1,) * stack + tuple(size), doubt.measures, may)
        result = predictor.predict_source(
            record.image, sink, box, progress, cancel=lambda: not control.wait_while_paused(emit)
        )
        if result.outcome is Outcome.CANCELLED:
            raise PredictionCancelledError("cancelled; no region was ranked")
        found.append(sink.cells)
    for message in dict.fromkeys((*messages, *predictor.messages)):
        emit(Warned(message=message))
    ranked = tuple(rank_regions(found, number, None if by == "all" else by))
    return Suggested(ranked, trained.source.get("epoch"), _words(ranked, number, records, trained))


def rank_layers(run: str | Path, data: Any, **asked: Any) -> RegionsRanked:
    """Return what `label_next` finds, as the engine tells it; takes what that takes."""
    found = label_next(run, data, **asked)
    names = ("record", "target", "start", "stop", "score", "reason")
    regions = [DoubtfulRegion(**{name: getattr(one, name) for name in names}) for one in found.regions]
    return RegionsRanked(regions=tuple(regions), epoch=found.epoch, words=found.words)


def _check(number: int, by: str) -> None:
    if number < 1:
        raise ConfigError(f"{number} regions cannot be ranked; ask for 1 or more")
    if by not in ("all", *REASONS):
        raise ConfigError(f"{by!r} is nothing to rank by. Allowed: all, {', '.join(REASONS)}")


def _doubt(trained: Trained, targets: Sequence[str]) -> Doubt:
    """Return the network as it doubts; refuses a target that it does not have."""
    known = [head.name for head in trained.heads if head.name == head.target]
    for name in targets:
        if name not in known:
            raise ConfigError(f"{name!r} is no target of this network. It has: {', '.join(known)}")
    tasks = trained.config.auxiliary_tasks if trained.config is not None else {}
    return Doubt(
        trained.network, trained.heads, targets or known, tasks, trained.plan.ndim, min(trained.plan.spacing)
    )


def _size(trained: Trained, size: Sequence[int] | None) -> tuple[int, ...]:
    patch = trained.plan.patch_size
    if size is None:
        return tuple(max(1, edge // 2) for edge in patch)
    if len(size) != len(patch) or min(size) < 1:
        raise ConfigError(
            f"{','.join(map(str, size))} is not the size of a region: give {len(patch)} numbers in array "
            f"order, such as {','.join(str(edge // 2) for edge in patch)}"
        )
    return tuple(size)


def _predictor(trained: Trained, doubt: Doubt, device: str) -> Predictor:
    hardware = resolve_hardware(device)
    doubt.to(hardware.device).eval()
    changes: dict[str, Any] = {
        "overlap": _OVERLAP,
        "output": "probabilities",
        "targets": None,
        "instances": False,
        "mirroring": False,
    }
    if trained.inference.strategy == "distributed":
        changes["strategy"] = "auto"
    inference = trained.inference.replace(**changes)
    predictor = Predictor(
        replace(trained, network=doubt, heads=(doubt.head,), inference=inference), hardware.device
    )
    predictor.messages += hardware.messages
    return predictor


def _records(run: str | Path, trained: Trained, data: Any) -> tuple[list[Record], list[str]]:
    """Return the images with their labels, as far as they have any, and what is to be said of them."""
    if data is None:
        data = read_data(find_run(run))
    if isinstance(data, Mapping) or (Path(data).is_dir() and not is_store(Path(data))):
        try:
            dataset = open_dataset(data, trained.dataset)
        except DataError:
            if isinstance(data, Mapping):
                raise
        else:
            return list(dataset.records.values()), [*dataset.faults]
    reader = ImageReader(Predictor(trained, resolve_hardware("cpu").device))
    images = reader.find(data)
    return [Record(name, reader.open(file)) for name, file in images.items()], reader.messages


def _split_of(run: str | Path) -> Split:
    """Return what a run uses its data for; nothing where there is no run beside the checkpoint."""
    with suppress(RunError, DataError):
        return find_run(run).read_as("split.json", Split.from_dict)
    return Split()


def _trained_on(record: Record, split: Split) -> list[Region]:
    """Return where labels would be learned: all of an image that the split does not know."""
    known = [region for part in PARTS for region in split.part(part) if region.record == record.id]
    if not known:
        return [Region(record.id, (0,) * len(record.shape), record.shape)]
    return [region for region in split.train if region.record == record.id]


def _around(regions: Sequence[Region]) -> tuple[slice, ...]:
    """Return the smallest box that holds all regions."""
    sides = zip(
        zip(*(r.start for r in regions), strict=True),
        zip(*(r.stop for r in regions), strict=True),
        strict=True,
    )
    return tuple(slice(min(starts), max(stops)) for starts, stops in sides)


class _Open:
    """Says which voxels of an image may be proposed.

    Parameters
    ----------
    record
        The image.
    trained
        Says what its labels mean.
    regions
        Where labels would be learned.
    """

    def __init__(self, record: Record, trained: Trained, regions: Sequence[Region]) -> None:
        self._record, self._regions = record, regions
        self._targets = trained.dataset.targets
        self._foreground_only = trained.config is not None and trained.config.tr_config.loss_on_label_only

    def __call__(self, where: tuple[slice, ...], target: str) -> npt.NDArray[np.bool_]:
        """Return `(*where)`, True where labels would be learned and there are none."""
        may = np.zeros(tuple(part.stop - part.start for part in where), np.bool_)
        for region in self._regions:
            sides = zip(region.start, region.stop, where, strict=True)
            may[tuple(slice(max(a - p.start, 0), max(b - p.start, 0)) for a, b, p in sides)] = True
        if target in self._record.labels:
            may &= ~self._labelled(where, target)
        return may

    def _labelled(self, where: tuple[slice, ...], target: str) -> npt.NDArray[np.bool_]:
        labels = self._record.labels[target].read(where)
        config = self._targets.get(target, TargetConfig())
        plain = labels[0] if len(labels) == 1 else labels
        foreground, labelled = label_masks(plain, config, ndim=len(where))
        counts = foreground if self._foreground_only else labelled
        if target in self._record.masks:
            counts = counts & (self._record.masks[target].read(where) != 0).all(axis=0)
        return np.asarray(counts)


def _words(regions: Sequence[Doubtful], number: int, records: Sequence[Record], trained: Trained) -> str:
    """Return why there are fewer regions than were asked for."""
    if len(regions) == number:
        return ""
    if regions:
        return f"there is no more room than for {len(regions)}: everything else is labelled or held out"
    return "there is no region to propose: " + "; ".join(_faults(records, trained))


def _faults(records: Sequence[Record], trained: Trained) -> Iterator[str]:
    dense = [
        name
        for name, target in trained.dataset.targets.items()
        if target.unlabelled is None and any(name in record.labels for record in records)
    ]
    if dense:
        yield (
            f"every voxel of {', '.join(dense)} counts as labelled, with 0 as background. Where 0 shall mean "
            "not labelled yet, set dataset_config.targets.<target>.unlabelled to 0 and train again"
        )
    else:
        yield "all of the data is labelled, held out for validation, or predicted without any doubt"
