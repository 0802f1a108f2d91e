"""The whole road on a picture that comes with the program: train on scribbles, predict, separate, score."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from napari_segtrain.config import ExperimentConfig, InferenceConfig
from napari_segtrain.data.samples import Sample, coins
from napari_segtrain.evaluation.objects import object_overlaps
from napari_segtrain.evaluation.overlap import dice
from napari_segtrain.inference import MemorySink, Outcome, PredictionCancelledError, as_source
from napari_segtrain.inference.instances import separate_instances
from napari_segtrain.runs import Control, Emit, RunState, ignore

from .prediction import load_predictor
from .run import train

DISTANCE_CLIP = 16.0
"""Distances from a coin's edge are learned up to this many pixels, most of a coin's radius."""

EXPERIMENT = {
    "tr_setup": {"model_name": "coins", "run_name": "coins", "compile": "off"},
    "tr_config": {
        "patch_size": [128, 128],
        "batch_size": 4,
        "num_epochs": 24,
        "steps_per_epoch": 10,
        "max_time": 1.5,
        "ema_decay": 0.9,
        "optimizer": {"name": "AdamW", "lr": 0.003},
        "scheduler": {"name": "warmup_cosine", "warmup_epochs": 0.5},
    },
    "model_config": {
        "base_features": 16,
        "blocks_per_stage": [1, 1, 1, 1, 1],
        "max_poolings": 4,
        "decoders": "shared",
    },
    "dataset_config": {"targets": {"foreground": {"kind": "binary", "unlabelled": 0}}},
    "auxiliary_tasks": {
        "distance": {
            "type": "distance_transform",
            "source_target": "foreground",
            "loss_weight": 0.5,
            "clip": DISTANCE_CLIP,
        }
    },
    "inference_config": {"seed_threshold": 0.4, "min_size": 200},
}
"""The demo's configuration, as its YAML file would have it."""


@dataclass(frozen=True)
class DemoResult:
    """What the demo made.

    Attributes
    ----------
    run
        The run folder; ``predictions/`` in it holds label images.
    overlay
        Picture of the image with scribbles and outlines of the found coins.
    dice
        Overlap of the predicted foreground with the true one.
    ap50
        Share of right coins: TP / (TP + FP + FN) at an overlap (IoU) of one half.
    found, coins
        Coins that were found, and coins that there are.
    """

    run: Path
    overlay: Path
    dice: float
    ap50: float
    found: int
    coins: int


def demo(project: str | Path = "demo", *, emit: Emit = ignore, control: Control | None = None) -> DemoResult:
    """Train two targets on a scribbled picture of coins, predict, separate the coins and score them.

    The data is written to ``<project>/data`` in the layout that ``segtrain train`` reads.

    Parameters
    ----------
    project
        Folder for data and run.
    emit
        Told the progress.
    control
        Requests to stop.

    Raises
    ------
    RunFailedError
        When the run failed.
    PredictionCancelledError
        When the user stopped it.
    """
    control = control if control is not None else Control()
    project = Path(project)
    sample = coins()
    folder = write_sample(sample, project / "data")
    config = ExperimentConfig.parse(EXPERIMENT, "demo")
    result = train(config, folder, project, emit=emit, control=control)
    if result.status is RunState.INTERRUPTED:
        raise PredictionCancelledError(f"the demo was stopped; {result.message}")
    foreground, instances = predict_coins(result.path, sample.image, control)
    truth = sample.truth["foreground"]
    score = object_overlaps(truth, instances).match(0.5)
    predictions = result.path / "predictions"
    write_images(predictions, {"foreground": foreground.astype(np.uint8), "instances": instances})
    overlay = result.path / "plots" / "overlay.png"
    draw_overlay(overlay, sample, instances)
    return DemoResult(
        run=result.path,
        overlay=overlay,
        dice=dice(truth > 0, foreground),
        ap50=score.average_precision,
        found=score.found,
        coins=int(truth.max()),
    )


def predict_coins(
    run: Path, image: npt.NDArray[np.uint8], control: Control
) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.int32]]:
    """Return the predicted foreground and the separated coins; seeds come from the signed distance."""
    predictor = load_predictor(run, {"output": "probabilities"})
    sink = MemorySink()
    outcome = predictor.predict_source(
        as_source(image, predictor.plan), sink, cancel=lambda: control.stopped
    ).outcome
    if outcome is Outcome.CANCELLED:
        raise PredictionCancelledError("the demo was stopped while it predicted")
    probability, distance = sink.arrays["foreground"][0], sink.arrays["distance"][0]
    inside = np.clip(-distance / DISTANCE_CLIP, 0.0, 1.0)
    inference: InferenceConfig = predictor.inference
    instances = separate_instances(probability, None, inside, inference)
    return probability > inference.threshold, instances


def write_sample(sample: Sample, folder: Path) -> Path:
    """Write a sample in the layout of a data folder and return the folder."""
    write_images(folder / "images", {sample.name: sample.image})
    labels = {f"{sample.name}_{target}": array for target, array in sample.labels.items()}
    write_images(folder / "labels", labels)
    return folder


def write_images(folder: Path, images: dict[str, npt.NDArray[np.generic]]) -> None:
    """Write each array as ``<folder>/<name>.tif``."""
    import tifffile

    folder.mkdir(parents=True, exist_ok=True)
    for name, image in images.items():
        tifffile.imwrite(folder / f"{name}.tif", image, compression="zlib")


def draw_overlay(path: Path, sample: Sample, instances: npt.NDArray[np.int32]) -> None:
    """Write a picture: the image twice, with the scribbles, and with the outlines of the objects."""
    from skimage.io import imsave
    from skimage.segmentation import find_boundaries

    grey = np.repeat(sample.image[..., None], 3, axis=2)
    painted, outlined = grey.copy(), grey.copy()
    scribbles = sample.labels["foreground"]
    painted[scribbles == 1] = (40, 120, 220)
    painted[scribbles == 2] = (255, 190, 0)
    outlined[find_boundaries(instances, mode="inner")] = (255, 190, 0)
    path.parent.mkdir(parents=True, exist_ok=True)
    imsave(path, np.concatenate([painted, outlined], axis=1), check_contrast=False)
