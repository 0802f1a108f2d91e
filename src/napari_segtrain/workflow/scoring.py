"""Scores of a run on a part of its data: predict, derive the truth, compare, write, print."""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from napari_segtrain.config import DataError, ExperimentConfig, RunError
from napari_segtrain.data import PARTS, SPLIT_FILE, Dataset, Part, Region, Split, find_leakage
from napari_segtrain.evaluation import Report, write_page
from napari_segtrain.inference import Predictor
from napari_segtrain.runs import (
    Control,
    Emit,
    PredictProgress,
    RunFolder,
    Warned,
    find_run,
    ignore,
    read_data,
)
from napari_segtrain.training import ResolvedExperiment, complete_targets

from .extremes import Extremes
from .prediction import load_predictor
from .run_data import DataSpec, open_data
from .score_files import may_write, write_scores
from .scorer import Scorer

Progress = Callable[[float, float | None, str], None]
"""Told the finished share, the seconds that are left, and the image."""


@dataclass(frozen=True)
class Evaluation:
    """The scores of one part of the data.

    Attributes
    ----------
    path
        ``evaluation/<split>.json`` in the run folder; everything else that was written lies beside it.
    report
        What was found.
    share
        Share of the part's voxels that was looked at.
    """

    path: Path
    report: Report
    share: float = 1.0

    @property
    def scores(self) -> dict[str, dict[str, Any]]:
        """Scores by target: ``{"<target>": {"dice": …, "iou": …, "ap50": …, "images": {…}}}``."""
        return self.report.to_dict()

    def table(self) -> str:
        """Return the scores as a table of text."""
        return self.report.table()


def evaluate(
    run: str | Path,
    split: Part = "test",
    *,
    data: DataSpec | None = None,
    overrides: Mapping[str, Any] | None = None,
    device: str = "auto",
    emit: Emit = ignore,
    control: Control | None = None,
) -> Evaluation:
    """Score a run with its best weights; needs nothing but the run folder and the data.

    Parameters
    ----------
    run
        The run folder, or one of its checkpoints.
    split
        ``"train"``, ``"val"`` or ``"test"``, as the run split its data.
    data
        Where the data is now; by default where the run had it.
    overrides
        Keys of ``inference_config`` that differ from the run's own.
    device
        Where to predict.
    emit
        Told the progress.
    control
        A stop ends the evaluation.

    Raises
    ------
    RunError
        When the run has no usable checkpoint, or no such part.
    DataError
        When the data is not what the run was trained on.
    PredictionCancelledError
        When the user stopped it.

    Examples
    --------
    >>> from napari_segtrain import evaluate
    >>> result = evaluate("project/runs/base", "val")
    >>> sorted(result.scores), 0 <= result.scores["cells"]["dice"] <= 1, result.path.name
    (['cells'], True, 'val.json')
    """
    folder = find_run(run)
    control = control if control is not None else Control()
    config = folder.read_config()
    dataset = open_data(read_data(folder) if data is None else data, config)
    regions = regions_of_run(folder, dataset, split)
    # A checkpoint of the run that is named is the one that is scored.
    predictor = load_predictor(run if Path(run).is_file() else folder.path, overrides, device)
    leaks = _leakage(folder, dataset)
    for message in (*predictor.messages, *leaks):
        emit(Warned(message=message))
    if may_write(folder):
        for message in leaks:
            folder.add_warning(message)

    def tell(fraction: float, seconds: float | None, image: str) -> None:
        emit(PredictProgress(fraction=fraction, seconds_left=seconds, record=image or None))

    scoring = Scoring(folder, dataset, config, predictor, control)
    return scoring.score(split, regions, tell)


def _leakage(folder: RunFolder, dataset: Dataset) -> tuple[str, ...]:
    try:
        return find_leakage(dataset, folder.read_as(SPLIT_FILE, Split.from_dict))
    except DataError as error:
        # An image of another part that cannot be read is no reason not to score this one.
        return (f"whether the parts of the split have images in common is not known: {error}",)


def regions_of_run(folder: RunFolder, dataset: Dataset, split: Part) -> tuple[Region, ...]:
    """Return the regions of a part of a run's data, as the run has split it.

    Parameters
    ----------
    folder
        The run.
    dataset
        Its data, as it is at hand.
    split
        The part.

    Raises
    ------
    RunError
        When the run has no such part.
    DataError
        When an image of it is not there as the run had it, or has no labels.
    """
    whole = folder.read_as(SPLIT_FILE, Split.from_dict)
    regions = whole.part(split)
    if not regions:
        filled = ", ".join(part for part in PARTS if whole.part(part))
        raise RunError(
            f"{folder.path}: the split of this run has no {split} part, only {filled}; score one of those or "
            "name test images in the data's split.json before training"
        )
    dataset.require(regions)
    return regions


def write_report(run: str | Path) -> Path:
    """Write ``report.html`` into a run folder, from whatever is there, and return its path.

    Parameters
    ----------
    run
        The run folder, or a checkpoint in it; of a run in any state.

    Raises
    ------
    RunError
        When there is no run, or the page cannot be written.
    """
    return write_page(find_run(run))


class Scoring:
    """Scores parts of a run's data with one network, and writes what it finds into the run folder.

    Parameters
    ----------
    folder
        The run.
    dataset
        Its images.
    config
        Its experiment.
    predictor
        Its network; settings are changed to what scoring needs.
    control
        A stop ends it.

    Attributes
    ----------
    patch_size
        That of the training; of the patches that are shown.
    """

    def __init__(
        self,
        folder: RunFolder,
        dataset: Dataset,
        config: ExperimentConfig,
        predictor: Predictor,
        control: Control,
    ) -> None:
        self._folder = folder
        self._dataset = dataset
        self._predictor = predictor
        self._control = control
        resolved = folder.read_as("resolved.json", ResolvedExperiment.from_dict)
        self._scorer = Scorer(predictor, resolved, complete_targets(config, dataset))
        self.patch_size = resolved.patch_size

    def score(
        self, split: Part, regions: Sequence[Region], tell: Progress, most_voxels: int | None = None
    ) -> Evaluation:
        """Score the regions of a part.

        Parameters
        ----------
        split
            The part.
        regions
            All of it.
        tell
            Told how far it is.
        most_voxels
            Look at no more than so many, evenly spread; None is all of them.

        Raises
        ------
        PredictionCancelledError
            When it was stopped; nothing is written.
        """
        chosen = spread(regions, self.patch_size, most_voxels)
        report, extremes = Report(), Extremes(self._scorer, self.patch_size)
        total, done, start = voxels_of(chosen), 0, time.monotonic()
        for region in chosen:
            size, record = math.prod(region.shape), self._dataset.records[region.record]

            def inside(share: float, seconds: float | None) -> None:
                fraction = min((done + share * size) / total, 1.0)  # noqa: B023 - called in this turn only
                spent = time.monotonic() - start
                tell(fraction, spent / fraction - spent if fraction else None, region.record)  # noqa: B023

            inside(0.0, None)
            scored = self._scorer.score(record, region, self._control, inside)
            report.add(region.record, scored.scores)
            extremes.add(record, region, scored)
            done += size
        share = total / voxels_of(regions)
        about = {
            "checkpoint": Path(self._predictor.source["path"]).name,
            "epoch": self._predictor.source["epoch"],
            "share": share,
            "images": len({region.record for region in chosen}),
            "of_images": len({region.record for region in regions}),
            "data": self._dataset.origin,
            "settings": self._predictor.inference.to_dict(),
        }
        spacing = next(iter(self._dataset.records.values())).spacing
        path = write_scores(self._folder, split, report, extremes, about, spacing)
        tell(1.0, None, "")
        return Evaluation(path, report, share)


def spread(regions: Sequence[Region], patch: tuple[int, ...], most_voxels: int | None) -> tuple[Region, ...]:
    """Return regions, or pieces of them, that are evenly spread and have no more voxels than allowed.

    Only where there are too many voxels are regions cut: those larger than a sixteenth of what is allowed,
    into pieces of whole patches. At least one piece is returned.
    """
    if most_voxels is None or voxels_of(regions) <= most_voxels:
        return tuple(regions)
    edges = list(patch)
    while math.prod(edges) * 2 ** len(edges) <= most_voxels // 16:
        edges = [2 * edge for edge in edges]
    pieces = [piece for region in regions for piece in _cut(region, edges)]
    for count in range(int(len(pieces) * most_voxels / voxels_of(regions)), 1, -1):
        chosen = tuple(pieces[i * len(pieces) // count] for i in range(count))
        if voxels_of(chosen) <= most_voxels:
            return chosen
    return (pieces[0],)


def _cut(region: Region, edges: Sequence[int]) -> list[Region]:
    """Cut a region into boxes; what is left at an end belongs to the last one."""
    boxes: list[tuple[tuple[int, ...], tuple[int, ...]]] = [((), ())]
    for first, last, edge in zip(region.start, region.stop, edges, strict=True):
        count = max(1, (last - first) // edge)
        bounds = [first + n * edge for n in range(count)] + [last]
        boxes = [((*start, a), (*stop, b)) for start, stop in boxes for a, b in itertools.pairwise(bounds)]
    return [Region(region.record, start, stop) for start, stop in boxes]


def voxels_of(regions: Sequence[Region]) -> int:
    """Return how many voxels regions have together."""
    return sum(math.prod(region.shape) for region in regions)
