"""Scores of a run on a part of its data: predict, derive the truth, compare, write, print."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from napari_segtrain.config import ExperimentConfig, RunError
from napari_segtrain.data import PARTS, SPLIT_FILE, Dataset, Record, Region, Split
from napari_segtrain.evaluation import Report, Scores, evaluate_image
from napari_segtrain.inference import (
    MemorySink,
    Outcome,
    PredictionCancelledError,
    Predictor,
    instance_parts,
    separate_instances,
)
from napari_segtrain.runs import (
    Control,
    Emit,
    PredictProgress,
    RunFolder,
    Warned,
    find_run,
    ignore,
    read_data,
    write_json,
)
from napari_segtrain.targets import label_masks, resolve_targets
from napari_segtrain.training import ResolvedExperiment

from .prediction import load_predictor
from .review import complete_targets
from .run import DataSpec, open_data
from .truth import read_labels, region_deriver

Part = Literal["train", "val", "test"]


@dataclass(frozen=True)
class Evaluation:
    """The scores of one part of the data.

    Attributes
    ----------
    path
        ``evaluation/<split>.json`` in the run folder.
    report
        What was found.
    """

    path: Path
    report: Report

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
    regions = _regions(folder, dataset, split)
    # A checkpoint of the run that is named is the one that is scored.
    predictor = load_predictor(run if Path(run).is_file() else folder.path, overrides, device)
    for message in predictor.messages:
        emit(Warned(message=message))
    scorer = _Scorer(predictor, _resolved(folder), complete_targets(config, dataset))
    report = Report()
    for number, region in enumerate(regions):
        emit(PredictProgress(fraction=number / len(regions), record=region.record))
        report.add(region.record, scorer.score(dataset.records[region.record], region, control))
    path = folder.evaluation / f"{split}.json"
    write_json(path, report.to_dict())
    emit(PredictProgress(fraction=1.0))
    return Evaluation(path, report)


def _resolved(folder: RunFolder) -> ResolvedExperiment:
    return folder.read_as("resolved.json", ResolvedExperiment.from_dict)


def _regions(folder: RunFolder, dataset: Dataset, split: Part) -> tuple[Region, ...]:
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


class _Scorer:
    """Predicts a region of an image and compares it with its labels."""

    def __init__(self, predictor: Predictor, resolved: ResolvedExperiment, config: ExperimentConfig) -> None:
        self._predictor = predictor
        self._threshold = predictor.inference.threshold
        # The parts of instance targets are asked for by name: the objects are made from them here.
        names = tuple(head.name for head in predictor.heads)
        changes = {"output": "probabilities", "instances": False, "targets": names}
        self._separation = predictor.inference
        predictor.inference = predictor.inference.replace(**changes)
        self._targets = resolve_targets(config, resolved.facts)
        self._deriver = region_deriver(config, resolved, predictor.heads)
        self._parts = instance_parts(predictor.heads)

    def score(self, record: Record, region: Region, control: Control) -> dict[str, Scores]:
        """Return the scores of each output in a region of a record."""
        sink = MemorySink()
        outcome = self._predictor.predict_source(
            record.image,
            sink,
            region=region.slices,
            cancel=lambda: not control.wait_while_paused(),
        ).outcome
        if outcome is Outcome.CANCELLED:
            raise PredictionCancelledError("the evaluation was stopped; there are no scores")
        labels, masks = read_labels(record, region)
        cut = region.shape != record.shape
        truth = self._deriver(labels, masks, record.spacing)
        objects = {
            name: (self._true_objects(name, labels[name], cut), self._objects(name, sink.arrays))
            for name in self._parts
            if name in labels
        }
        return evaluate_image(
            self._predictor.heads, truth, sink.arrays, objects, self._threshold, self._predictor.values
        )

    def _objects(self, name: str, arrays: Mapping[str, npt.NDArray[Any]]) -> npt.NDArray[np.int32]:
        parts = self._parts[name]
        return separate_instances(
            arrays[parts.foreground][0],
            None if parts.boundary is None else arrays[parts.boundary][0],
            None if parts.distance is None else arrays[parts.distance][0],
            self._separation,
        )

    def _true_objects(self, name: str, labels: npt.NDArray[Any], cut: bool) -> npt.NDArray[Any]:
        """Return the painted objects; of one that a cut left in several pieces, each is an object."""
        foreground, _ = label_masks(labels, self._targets[name])
        numbers: npt.NDArray[Any] = np.where(foreground, labels, 0)
        if not cut:
            return numbers
        import cc3d

        _, compact = np.unique(numbers, return_inverse=True)
        compact = compact.reshape(labels.shape).astype(np.uint32)
        connectivity = 8 if labels.ndim == 2 else 26
        found: npt.NDArray[Any] = cc3d.connected_components(compact, connectivity=connectivity)
        return found
