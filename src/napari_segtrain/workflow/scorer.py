"""Predicts regions of images and compares them with their labels."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from napari_segtrain.config import ExperimentConfig
from napari_segtrain.data import Record, Region
from napari_segtrain.evaluation import Scores, evaluate_image
from napari_segtrain.inference import (
    MemorySink,
    Outcome,
    PredictionCancelledError,
    Predictor,
    instance_parts,
    separate_instances,
)
from napari_segtrain.runs import Control
from napari_segtrain.targets import Head, label_masks, resolve_targets
from napari_segtrain.training import ResolvedExperiment

from .truth import Arrays, read_labels, region_deriver


@dataclass(frozen=True)
class Scored:
    """A region with its scores and what they were computed from.

    Attributes
    ----------
    scores
        By output.
    truth
        Targets and their masks, as `TargetDeriver` makes them.
    prediction
        `(C, *spatial)` after the activation, by output.
    """

    scores: dict[str, Scores]
    truth: Arrays
    prediction: Arrays


class Scorer:
    """Scores regions of images one after the other.

    Parameters
    ----------
    predictor
        The network; its settings are changed to what scoring needs.
    resolved, config
        What the run was trained with.
    """

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

    @property
    def heads(self) -> tuple[Head, ...]:
        """The outputs of the network."""
        return self._predictor.heads

    def score(
        self,
        record: Record,
        region: Region,
        control: Control,
        progress: Callable[[float, float | None], None] | None = None,
    ) -> Scored:
        """Return the scores of each output in a region of a record.

        Raises
        ------
        PredictionCancelledError
            When it was stopped.
        """
        sink = MemorySink()
        outcome = self._predictor.predict_source(
            record.image,
            sink,
            region=region.slices,
            progress=progress,
            cancel=lambda: not control.wait_while_paused(),
        ).outcome
        if outcome is Outcome.CANCELLED:
            raise PredictionCancelledError("the evaluation was stopped; there are no scores")
        labels, masks = read_labels(record, region)
        cut = region.shape != record.shape
        truth = self._deriver(labels, masks, record.spacing)
        objects = {
            name: (
                self._true_objects(name, labels[name], cut),
                self._objects(name, sink.arrays, record.spacing),
            )
            for name in self._parts
            if name in labels
        }
        scores = self._scores(self.heads, truth, sink.arrays, objects, record.spacing)
        return Scored(scores, truth, sink.arrays)

    def score_output(self, head: Head, truth: Arrays, prediction: Arrays) -> Scores | None:
        """Return the scores of one output of a small piece, without objects and surfaces."""
        return self._scores((head,), truth, prediction, {}, None).get(head.name)

    def _scores(
        self,
        heads: tuple[Head, ...],
        truth: Arrays,
        prediction: Arrays,
        objects: Mapping[str, tuple[npt.NDArray[Any], npt.NDArray[Any]]],
        spacing: tuple[float, ...] | None,
    ) -> dict[str, Scores]:
        values = self._predictor.values
        return evaluate_image(heads, truth, prediction, objects, self._threshold, values, spacing)

    def _objects(
        self, name: str, arrays: Mapping[str, npt.NDArray[Any]], spacing: tuple[float, ...]
    ) -> npt.NDArray[np.int32]:
        parts = self._parts[name]
        return separate_instances(
            arrays[parts.foreground][0],
            None if parts.boundary is None else arrays[parts.boundary][0],
            None if parts.distance is None else arrays[parts.distance][0],
            self._separation,
            spacing,
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
