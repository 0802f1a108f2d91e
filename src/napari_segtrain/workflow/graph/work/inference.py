"""Predictions and their scores."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from torch import nn

from napari_segtrain.config import InferenceConfig, RunError
from napari_segtrain.data import PARTS, SPLIT_FILE, Region, Split
from napari_segtrain.data.ram import main_memory
from napari_segtrain.evaluation import Report
from napari_segtrain.inference import (
    MemorySink,
    Outcome,
    PredictionCancelledError,
    Predictor,
    Trained,
    plan_outputs,
    separate_instances,
    write_tiff,
)
from napari_segtrain.network import resolve_hardware
from napari_segtrain.runs import RunFolder, Warned, load_checkpoint
from napari_segtrain.training import ResolvedExperiment, complete_targets
from napari_segtrain.workflow.data_change import other_images
from napari_segtrain.workflow.images import ImageReader
from napari_segtrain.workflow.scorer import Scored, Scorer
from napari_segtrain.workflow.scoring import regions_of_run

from ..context import Context, Values
from ..parameters import NoParameters, PredictorParameters
from ..ports import GraphError
from .data import Picture
from .models import described
from .setting import Loader

Arrays = dict[str, npt.NDArray[Any]]
_DONE = Outcome.COMPLETED
_SHARE = 0.4
"""Of the free memory, which a prediction may take: a viewer that shows it takes as much again."""


@dataclass(frozen=True)
class Place:
    """Where arrays lie.

    Attributes
    ----------
    node
        The node that gave the image: another one may call its images the same.
    record
        The image.
    start
        First voxel in it.
    spacing, unit
        Size of a voxel.
    """

    node: str
    record: str
    start: tuple[int, ...]
    spacing: tuple[float, ...]
    unit: str


@dataclass(frozen=True, eq=False)
class Predicted:
    """What a network predicted of one image, or of several, or of regions of them.

    Attributes
    ----------
    arrays
        By image and output, each ``(*spatial)``, or ``(C, *spatial)`` where there are several channels.
    places
        By image where its arrays lie.
    labels
        Outputs that are masks, classes or objects; the others are measured.
    scored
        By image what the scores were computed from, where there are labels.
    """

    arrays: dict[str, Arrays] = field(default_factory=dict)
    places: dict[str, Place] = field(default_factory=dict)
    labels: frozenset[str] = frozenset()
    scored: dict[str, Scored] = field(default_factory=dict)

    @property
    def finest(self) -> Predicted:
        """The first image alone."""
        name = next(iter(self.arrays))
        kept = {name: self.scored[name]} if name in self.scored else {}
        return Predicted({name: self.arrays[name]}, self.places, self.labels, kept)

    def and_also(self, other: Predicted) -> Predicted:
        """Return these images, and then those of another one; these are renamed where both have a name."""
        names = {
            name: f"{name} ({self.places[name].node})" if name in other.arrays else name
            for name in self.arrays
        }
        return Predicted(
            {names[name]: arrays for name, arrays in self.arrays.items()} | other.arrays,
            {names[name]: place for name, place in self.places.items()} | other.places,
            self.labels | other.labels,
            {names[name]: scored for name, scored in self.scored.items()} | other.scored,
        )


@dataclass(frozen=True, eq=False)
class Labelled:
    """The labels of images, as targets: by image what `TargetDeriver` makes of them, and where it lies."""

    truth: dict[str, Arrays] = field(default_factory=dict)
    places: dict[str, Place] = field(default_factory=dict)


def predictor(config: PredictorParameters, inputs: Values, context: Context) -> dict[str, Any]:
    """Predict an image, or a part of the images of a loader."""
    asked = config.to_sections()["inference_config"]
    found, labels = Predicted(), Labelled()
    if "dataloader" in inputs:
        found, labels = _predict_loader(inputs["model"], inputs["dataloader"], config, asked, context)
    if "image" in inputs:
        found = predict_picture(inputs["model"], inputs["image"], context, config, asked).and_also(found)
    if config.save_to is not None:
        save(found, Path(config.save_to))
    return {"predictions": found.finest, "all_predictions": found, "all_labels": labels}


def metrics(config: NoParameters, inputs: Values, context: Context) -> dict[str, Any]:
    """Score predictions against labels, as `segtrain evaluate` does."""
    predictions, labels = inputs["predictions"], inputs["labels"]
    report = Report()
    for name, scored in predictions.scored.items():
        if name in labels.truth:
            report.add(predictions.places[name].record, scored.scores)
    if not report.to_dict():
        raise GraphError(
            "there are no labels of what was predicted: give the predictor a data loader whose images have "
            "labels"
        )
    return {"metrics": report.to_dict()}


def make_predictor(model: nn.Module, device: str, asked: dict[str, Any]) -> Predictor:
    """Return what predicts with a network that came through a link."""
    trained, _ = described(model)
    inference = trained.inference.amended(asked, "predictor")
    hardware = resolve_hardware(device)
    made = Predictor(_on(trained, hardware.device), hardware.device, inference)
    made.messages += hardware.messages
    return made


def _on(trained: Trained, device: Any) -> Trained:
    trained.network.to(device)
    return trained


def predict_picture(
    model: nn.Module,
    picture: Picture,
    context: Context,
    config: PredictorParameters | None = None,
    asked: dict[str, Any] | None = None,
) -> Predicted:
    """Predict an image, or a folder of them, with the settings of the run but for those asked for."""
    made = make_predictor(model, config.device if config is not None else "auto", asked or {})
    reader = ImageReader(made)
    files: dict[str, Any] = {picture.name: picture.where}
    if isinstance(picture.where, str) and "://" not in picture.where:
        files = dict(reader.find(picture.where))
    found, told, voxels = Predicted(labels=_labels_of(made, made.inference)), False, 0
    for number, (name, where) in enumerate(files.items()):
        source, sink = reader.open(where), MemorySink()
        voxels += math.prod(source.shape)
        told = told or _warns_of_size(voxels * _bytes_of(made, made.inference), context)

        def tell(share: float, seconds: float | None) -> None:
            context.progress((number + share) / len(files), name)  # noqa: B023 - called in this turn only

        if made.predict_source(source, sink, progress=tell, cancel=context.cancelled).outcome is not _DONE:
            raise PredictionCancelledError("the prediction was cancelled; there is no result")
        found.arrays[name] = {output: _plain(array) for output, array in sink.arrays.items()}
        start = (0,) * len(source.spacing)
        found.places[name] = Place(_given_by(context), name, start, source.spacing, source.unit)
    for message in dict.fromkeys((*reader.messages, *made.messages)):
        context.emit(Warned(message=message))
    return found


def _given_by(context: Context) -> str:
    """Return the node whose images are predicted."""
    links = context.graph.links_into(context.node.name)
    return next((link.source for link in links if link.target_port in ("image", "input")), "")


def _bytes_of(made: Predictor, wanted: InferenceConfig) -> int:
    """Return how much is kept of a voxel."""
    kept = plan_outputs(made.heads, wanted, made.values).kept
    return sum(output.channels * output.dtype.itemsize for output in kept)


def _warns_of_size(size: int, context: Context) -> bool:
    """Warn of predictions that memory hardly holds, all together, and return whether it was so."""
    free = main_memory().free
    if size <= _SHARE * free:
        return False
    context.emit(
        Warned(
            message=f"Node '{context.node.name}' keeps what it predicts in memory: {size / 2**30:.1f} GiB of "
            f"{free / 2**30:.1f} GiB that are free, and a viewer that shows it takes as much again. segtrain "
            "predict, and the Predict dock, write such images block by block"
        )
    )
    return True


def _labels_of(made: Predictor, wanted: InferenceConfig) -> frozenset[str]:
    """Return the outputs that are labels in the form that is asked for."""
    kept = plan_outputs(made.heads, wanted, made.values).kept
    return frozenset(output.name for output in kept if output.form in ("mask", "classes", "instances"))


def _plain(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    return array[0] if len(array) == 1 else array


def _predict_loader(
    model: nn.Module, loader: Loader, config: PredictorParameters, asked: dict[str, Any], context: Context
) -> tuple[Predicted, Labelled]:
    """Predict the regions of a part, score them, and bring them into the form that is asked for."""
    made = make_predictor(model, config.device, asked)
    wanted = made.inference
    resolved = _resolved(model, made)
    experiment = made_config(model)
    loader = loader.read_as(experiment)
    scorer = Scorer(made, resolved, complete_targets(experiment, loader.dataset))
    found, labels = Predicted(labels=_labels_of(made, wanted)), Labelled()
    regions = _regions(loader, made, context)
    several = max(Counter(region.record for region in regions).values())
    scored_too = 2 * 4 * sum(head.out_channels for head in made.heads)  # probabilities and truth in float32
    voxels = sum(math.prod(region.shape) for region in regions)
    _warns_of_size(voxels * (_bytes_of(made, wanted) + scored_too), context)
    link = context.graph.link_into(context.node.name, "dataloader")
    node = "" if link is None else link.source
    for number, region in enumerate(regions):
        record = loader.dataset.records[region.record]

        def tell(share: float, seconds: float | None) -> None:
            context.progress((number + share) / len(regions), region.record)  # noqa: B023 - called in this turn

        scored = scorer.score(record, region, context.control, tell)
        name = region.record if several == 1 else f"{region.record}:{number}"
        place = Place(node, region.record, region.start, record.spacing, record.image.unit)
        found.places[name] = labels.places[name] = place
        found.arrays[name] = _in_form(made, wanted, scored.prediction, record.spacing)
        found.scored[name] = scored
        labels.truth[name] = dict(scored.truth)
    for message in made.messages:
        context.emit(Warned(message=message))
    return found, labels


def made_config(model: nn.Module) -> Any:
    """Return the experiment that a network was trained in."""
    trained, _ = described(model)
    if trained.config is None:
        raise GraphError("this network's experiment is not known: take it from a run")
    return trained.config


def _resolved(model: nn.Module, made: Predictor) -> ResolvedExperiment:
    known = described(model)[1]
    if known is not None:
        return known
    saved = load_checkpoint(Path(made.source["path"]), required=("resolved",))["resolved"]
    return ResolvedExperiment.from_dict(saved)


def _regions(loader: Loader, made: Predictor, context: Context) -> tuple[Region, ...]:
    """Return the regions of a part: as the network's run has split the data, where it is that data."""
    run = _run_of(made)
    own = "the split.json of the data" if loader.dataset.split_file is not None else "the split of the data"
    if run is not None:
        split = run.read_as(SPLIT_FILE, Split.from_dict)
        named = dict.fromkeys(region.record for part in PARTS for region in split.part(part))
        others = other_images(run, loader.dataset, named)
        if not others:
            return regions_of_run(run, loader.dataset, loader.part)
        said = f"{others}. The {loader.part} part is therefore not the run's, but that of {own}"
        context.emit(Warned(message=f"{run.path}: {said}; what the run was trained on may be in it"))
    split = loader.split
    regions = split.part(loader.part)
    if not regions:
        filled = ", ".join(f"{part}_loader" for part in PARTS if split.part(part))
        raise RunError(
            f"{own} has no {loader.part} part: connect {filled}, or name images of that part in a split.json"
        )
    return tuple(regions)


def _run_of(made: Predictor) -> RunFolder | None:
    """Return the run that a network was trained in, where that says how its data was split."""
    path = made.source.get("path")
    folder = None if path is None else Path(path).parent.parent
    return None if folder is None or not (folder / SPLIT_FILE).is_file() else RunFolder(folder)


def _in_form(
    made: Predictor, wanted: InferenceConfig, activated: Arrays, spacing: tuple[float, ...]
) -> Arrays:
    """Return predictions in the form that a prediction of images has."""
    plan = plan_outputs(made.heads, wanted, made.values)
    stacked = np.concatenate([activated[head.name] for head in plan.heads])
    arrays = {o.name: _plain(o.encode(stacked)) for o in plan.kept if o.form != "instances"}
    for name, parts in plan.instances.items():
        arrays[name] = separate_instances(
            activated[parts.foreground][0],
            None if parts.boundary is None else activated[parts.boundary][0],
            None if parts.distance is None else activated[parts.distance][0],
            wanted,
            spacing,
        )
    return arrays


def predictor_before(config: PredictorParameters, context: Context, found: Values) -> Values | None:
    """Return what a predictor gave before, None when the files that it wrote are gone."""
    files = () if config.save_to is None else _files(found["all_predictions"], Path(config.save_to))
    return found if all(path.is_file() for path, _, _ in files) else None


def save(found: Predicted, folder: Path) -> list[Path]:
    """Write predictions as TIFF files, ``<image>_<target>.tif``, and return their paths."""
    files = list(_files(found, folder))
    for path, image, array in files:
        place = found.places[image]
        shown = array if array.ndim > len(place.spacing) else array[None]
        write_tiff(path, shown, place.spacing, place.unit)
    return [path for path, _, _ in files]


def _files(found: Predicted, folder: Path) -> Iterator[tuple[Path, str, npt.NDArray[Any]]]:
    for image, arrays in found.arrays.items():
        for name, array in arrays.items():
            yield folder / f"{image.replace(':', '_')}_{name}.tif", image, array
