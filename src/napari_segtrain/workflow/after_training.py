"""What follows a completed training: scores with its best weights. It never makes a run fail."""

from __future__ import annotations

import gc
import logging
import math

import torch

from napari_segtrain.config import ExperimentConfig
from napari_segtrain.data import PARTS, SPLIT_FILE, Dataset, Part, Split
from napari_segtrain.evaluation import REPORT, write_page
from napari_segtrain.inference import PredictionCancelledError
from napari_segtrain.runs import Control, Emit, Progress, RunFolder, Scored, Warned

from .prediction import load_predictor
from .score_files import main_scores
from .scoring import Scoring, voxels_of

logger = logging.getLogger(__name__)


def score_run(run: RunFolder, dataset: Dataset, device: str, tell: Emit, control: Control) -> None:
    """Score the parts that ``tr_config.evaluate_after`` names with ``best.ckpt``.

    Parameters
    ----------
    run
        A run whose training is completed.
    dataset
        What it was trained on.
    device
        Where to predict.
    tell
        Told the progress and the scores. Whatever goes wrong is told as a warning, with what to do.
    control
        A stop leaves the run without the scores that are not there yet.
    """
    config = run.read_config()
    wanted: dict[str, tuple[Part, ...]] = {"all": PARTS, "held_out": ("val", "test"), "none": ()}
    split = run.read_as(SPLIT_FILE, Split.from_dict)
    parts = [part for part in wanted[config.tr_config.evaluate_after] if split.part(part)]
    if not parts or control.stopped:
        return
    try:
        _score(run, dataset, config, device, dict.fromkeys(parts, split), tell, control)
    except (PredictionCancelledError, KeyboardInterrupt):
        tell(Warned(message=f"the scores were stopped; {_advice(run, parts)}"))
    except Exception as error:
        logger.exception("the scores after the training failed")
        tell(Warned(message=f"the scores failed ({type(error).__name__}: {error}); {_advice(run, parts)}"))


def _advice(run: RunFolder, parts: list[Part]) -> str:
    return f"the run is completed; score it with: segtrain evaluate {run.path} --split {parts[-1]}"


def _score(
    run: RunFolder,
    dataset: Dataset,
    config: ExperimentConfig,
    device: str,
    splits: dict[Part, Split],
    tell: Emit,
    control: Control,
) -> None:
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    predictor = load_predictor(run.path, {"checkpoint": "best"}, device)
    scoring = Scoring(run, dataset, config, predictor, control)
    patches = config.tr_config.evaluate_patches
    most = None if patches is None else patches * math.prod(scoring.patch_size)
    for number, (part, split) in enumerate(splits.items()):
        # Training images are scored for comparison: as much of them as there is to compare with.
        held_out = voxels_of((*split.val, *split.test))
        limit = min(most, held_out) if part == "train" and most is not None and held_out else most

        def show(fraction: float, seconds: float | None, image: str) -> None:
            text = f"Scoring {part} ({number + 1} of {len(splits)})"  # noqa: B023 - called in this turn only
            tell(Progress(fraction=min(fraction, 1.0), seconds_left=seconds, text=text, scoring=True))

        found = scoring.score(part, split.part(part), show, limit)
        tell(
            Scored(
                split=part,
                scores=main_scores(found.scores),
                images=max((len(row["images"]) for row in found.scores.values()), default=0),
                share=found.share,
                path=str(found.path),
            )
        )


def write_report(run: RunFolder) -> None:
    """Write the page of the run; what goes wrong with it is no fault of the run."""
    try:
        write_page(run)
    except Exception:
        logger.exception("%s cannot be written", REPORT)
