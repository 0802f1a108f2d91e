"""Prediction with a trained network: arrays, files, folders, stores, and parts of layers."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy.typing as npt

from napari_segtrain.config import ConfigError, DataError, InferenceConfig, RunError
from napari_segtrain.data.sources import Source, open_source
from napari_segtrain.inference import (
    MemorySink,
    Outcome,
    PredictionCancelledError,
    Predictor,
    Sink,
    TiffSink,
    ZarrSink,
    as_source,
    load_trained,
)
from napari_segtrain.runs import (
    Control,
    Emit,
    Finished,
    FinishReason,
    PredictDone,
    PredictProgress,
    RunState,
    Warned,
    ignore,
)

IMAGE_ENDINGS = (".tif", ".tiff", ".png", ".jpg", ".jpeg", ".npy", ".zarr")


@dataclass(frozen=True)
class Written:
    """What a prediction wrote.

    Attributes
    ----------
    paths
        Files or stores that are complete.
    cancelled
        Whether the user ended it before everything was done.
    """

    paths: tuple[Path, ...]
    cancelled: bool = False


def load_predictor(
    run: str | Path, overrides: Mapping[str, Any] | None = None, device: str = "auto"
) -> Predictor:
    """Rebuild a trained network.

    Parameters
    ----------
    run
        Run folder or checkpoint file.
    overrides
        Keys of ``inference_config`` that differ from the run's own.
    device
        Where to predict, as in ``tr_setup.device``.

    Raises
    ------
    RunError
        When there is no usable checkpoint.
    ConfigError
        When a key or value is not valid.
    """
    which = (overrides or {}).get("checkpoint")
    if which not in (None, "best", "last"):
        raise ConfigError(f"checkpoint {which!r} is not a valid value. Allowed: best, last.")
    if not overrides:
        return Predictor.from_checkpoint(run, device)
    settings = load_trained(run, which).inference
    known = type(settings).model_fields
    unknown = [key for key in overrides if key not in known]
    if unknown:
        raise ConfigError(
            f"inference_config: unknown keys {', '.join(unknown)}. Allowed: {', '.join(known)}."
        )
    return Predictor.from_checkpoint(run, device, settings.replace(**overrides))


def predict(
    run: str | Path,
    image: Any,
    *,
    spacing: Sequence[float] | None = None,
    device: str = "auto",
    progress: Callable[[float, float | None], None] | None = None,
    cancel: Callable[[], bool] | None = None,
    **settings: Any,
) -> dict[str, npt.NDArray[Any]]:
    """Predict an image that fits into memory.

    Parameters
    ----------
    run
        Run folder or checkpoint file.
    image
        Array ``(*spatial)``, ``(C, *spatial)`` or ``(*spatial, C)``, spatial axes in array order (z,) y, x;
        a stack of planes for a 2D network; or the path of an image.
    spacing
        Size of a voxel in the same order; it is compared with that of the training data.
    device
        Where to predict, as in ``tr_setup.device``.
    progress
        Called with the finished share and the seconds that are left.
    cancel
        Asked now and then; True ends the prediction.
    **settings
        Keys of ``inference_config``, such as ``overlap=0.25``, ``output="probabilities"``,
        ``instances=True``; the others are those of the run.

    Returns
    -------
    dict
        Name to array: label maps, or what ``output`` says, ``(*spatial)``; with several channels
        ``(C, *spatial)``, vectors with their components in array order.

    Raises
    ------
    ConfigError, DataError, RunError
        When settings, image or checkpoint cannot work.
    PredictionCancelledError
        When `cancel` returned True.
    """
    predictor = load_predictor(run, settings, device)
    sink = MemorySink()
    result = predictor.predict_source(
        as_source(image, predictor.plan, spacing), sink, progress=progress, cancel=cancel
    )
    if result.outcome is Outcome.CANCELLED:
        raise PredictionCancelledError("the prediction was cancelled; there is no result")
    return {name: array[0] if len(array) == 1 else array for name, array in sink.arrays.items()}


def predict_files(
    run: str | Path,
    data: str | Path,
    output: str | Path,
    *,
    overrides: Mapping[str, Any] | None = None,
    device: str = "auto",
    emit: Emit = ignore,
    control: Control | None = None,
) -> Written:
    """Predict an image file, a folder of them, or a Zarr store of any size, in bounded memory.

    Parameters
    ----------
    run
        Run folder or checkpoint file.
    data
        An image; a folder of images, or a data folder, whose ``images/`` are taken; a Zarr store.
    output
        A folder, in which ``<image>_<target>.tif`` appears for each image and target; for a Zarr store a
        Zarr store with an array a target, continued when it was interrupted.
    overrides
        Keys of ``inference_config`` that differ from the run's own.
    device
        Where to predict.
    emit
        Told the progress.
    control
        A stop ends the prediction; what is complete stays.

    Raises
    ------
    ConfigError, DataError, RunError
        When settings, images, checkpoint or output cannot work.
    """
    control = control if control is not None else Control()
    predictor = load_predictor(run, overrides, device)
    files = _image_files(Path(data))
    paths: list[Path] = []
    for number, file in enumerate(files):
        name = _stem(file)
        to_store = _is_store(file) and len(files) == 1
        sink: TiffSink | ZarrSink = ZarrSink(output) if to_store else TiffSink(output, name)
        source = open_source(file, ndim=_dimension(predictor, file))
        if not _run(predictor, source, sink, None, emit, control, name, number, len(files)):
            return Written(tuple(paths), cancelled=True)
        paths += [sink.path] if isinstance(sink, ZarrSink) else sorted(sink.paths.values())
    for message in predictor.messages:
        emit(Warned(message=message))
    return Written(tuple(paths))


def predict_layer(
    run: str | Path,
    data: Any,
    output: str | Path,
    *,
    targets: Sequence[str] = (),
    start: Sequence[int] | None = None,
    stop: Sequence[int] | None = None,
    spacing: Sequence[float] | None = None,
    inference: Mapping[str, Any] | None = None,
    instances: bool = False,
    device: str = "auto",
    emit: Emit = ignore,
    control: Control | None = None,
) -> None:
    """Predict a layer, or a block of it, into a Zarr store, and announce where the results are.

    Parameters
    ----------
    run
        Run folder or checkpoint file.
    data
        Description of the image, as `open_source` takes it.
    output
        The Zarr store; a folder gets a ``prediction.zarr``.
    targets
        Outputs to predict; all when empty.
    start, stop
        The block, in array order; None for the whole layer.
    spacing
        Size of a voxel; that of the image when None.
    inference
        The section ``inference_config``; that of the run when None.
    instances
        Separate instance targets into single objects.
    device
        Where to predict.
    emit
        Told `PredictProgress`, `PredictDone` and `Finished`.
    control
        A stop ends the prediction.
    """
    began = time.monotonic()
    control = control if control is not None else Control()
    overrides = dict(InferenceConfig.model_validate(inference).to_dict()) if inference is not None else {}
    if targets:
        overrides["targets"] = tuple(targets)
    if instances:
        overrides["instances"] = True
    predictor = load_predictor(run, overrides, device)
    path = Path(output)
    path = path if path.suffix == ".zarr" else path / "prediction.zarr"
    source = as_source(data, predictor.plan, spacing) if not isinstance(data, Mapping) else None
    if source is None:
        source = open_source(data, ndim=_spec_dimension(predictor, data), spacing=spacing)
    region = None
    if start is not None and stop is not None:
        region = tuple(slice(a, b) for a, b in zip(start, stop, strict=True))
    sink = ZarrSink(path)
    done = _run(predictor, source, sink, region, emit, control, None, 0, 1)
    for message in predictor.messages:
        emit(Warned(message=message))
    if not done:
        emit(Finished(status=RunState.INTERRUPTED, reason=FinishReason.STOPPED, path=str(path)))
        return
    outputs = {
        name: {"kind": "zarr", "path": str(path / name), "level": 0, "channel_axis": 0 if several else None}
        for name, several in _stored_outputs(path).items()
    }
    emit(
        PredictDone(
            outputs=outputs,
            start=None if start is None else tuple(start),
            seconds=time.monotonic() - began,
        )
    )
    emit(Finished(status=RunState.COMPLETED, reason=FinishReason.ALL_EPOCHS, path=str(path)))


def _stored_outputs(path: Path) -> dict[str, bool]:
    """Return the arrays of a store and whether each has a channel axis."""
    import zarr

    group = zarr.open_group(str(path), mode="r")
    return {name: array.attrs["axes"][0] == "c" for name, array in group.arrays()}


def _run(
    predictor: Predictor,
    source: Source,
    sink: Sink,
    region: tuple[slice, ...] | None,
    emit: Emit,
    control: Control,
    record: str | None,
    number: int,
    count: int,
) -> bool:
    """Predict one of several images; False when the user ended it."""

    def progress(fraction: float, seconds: float | None) -> None:
        left = None if seconds is None or count > 1 else seconds
        share = min(1.0, (number + fraction) / count)
        emit(PredictProgress(fraction=share, seconds_left=left, record=record))

    def cancelled() -> bool:
        return not control.wait_while_paused(emit)

    result = predictor.predict_source(source, sink, region, progress, cancelled)
    return result.outcome is Outcome.COMPLETED


def _dimension(predictor: Predictor, file: Path) -> int | None:
    """Return the spatial axes to open a file with: a stack is a volume for a network of either kind."""
    if predictor.plan.ndim == 3:
        return 3
    spatial = len(open_source(file).shape)
    return spatial if spatial in (2, 3) else 2


def _spec_dimension(predictor: Predictor, spec: Mapping[str, Any]) -> int:
    if predictor.plan.ndim == 3:
        return 3
    return len(open_source(spec).shape)


def _image_files(data: Path) -> list[Path]:
    if not data.exists():
        raise DataError(f"{data}: there is nothing here; give an image, a folder of images or a Zarr store")
    if data.is_file() or _is_store(data):
        return [data]
    folder = data / "images" if (data / "images").is_dir() else data
    files = sorted(p for p in folder.iterdir() if p.suffix.lower() in IMAGE_ENDINGS and p.name[0] != ".")
    if not files:
        raise DataError(f"{folder}: holds no image; images end in {', '.join(IMAGE_ENDINGS)}")
    names = [_stem(file) for file in files]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise RunError(
            f"{folder}: {', '.join(twice)} is there with several endings, and the results would have the "
            "same names; predict them one by one"
        )
    return files


def _is_store(path: Path) -> bool:
    return any((path / name).is_file() for name in ("zarr.json", ".zarray", ".zgroup"))


def _stem(path: Path) -> str:
    return path.name.removesuffix(".zarr").removesuffix(path.suffix) if path.suffix else path.name
