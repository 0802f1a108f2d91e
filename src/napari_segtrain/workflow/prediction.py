"""Prediction with a trained network: arrays, files, folders, stores, and parts of layers."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy.typing as npt

from napari_segtrain.config import ConfigError, DataError, InferenceConfig
from napari_segtrain.data import is_store
from napari_segtrain.data.sources import Source, open_source
from napari_segtrain.inference import (
    MemorySink,
    Outcome,
    PredictionCancelledError,
    Predictor,
    Sink,
    Spread,
    TiffSink,
    ZarrSink,
    as_source,
    check_source,
    load_trained,
    note_parts,
    plan_outputs,
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
    note_predictions,
)

from .distributed import cluster, spread_over
from .images import ImageReader


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
    if not overrides:
        return Predictor.from_checkpoint(run, device)
    # Mistakes are said before a checkpoint is read, which may take a moment.
    asked = InferenceConfig().amended(overrides, "inference_config")
    trained = load_trained(run, asked.checkpoint if "checkpoint" in overrides else None)
    return Predictor.from_checkpoint(run, device, trained.inference.replace(**overrides))


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
        a stack of planes for a 2D network; or the path of an image, read as the run read its data.
    spacing
        Size of a voxel in the same order and in the unit of the training data. Where that had a unit, a
        warning says when the network was trained on another size: objects then look larger or smaller than
        those it knows.
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
        Name to array, for every target and auxiliary task. ``(*spatial)`` uint8: 0 and 1 of a binary
        target, the label values of classes (uint16 or int32 where they need it). ``(*spatial)`` int32:
        object numbers, with ``instances=True``. ``(*spatial)`` float32: distances and measured values, and
        with ``output="probabilities"`` probabilities. ``(C, *spatial)`` where there are several channels:
        probabilities of classes, vectors with their components in array order.

    Raises
    ------
    ConfigError, DataError, RunError
        When settings, image or checkpoint cannot work.
    PredictionCancelledError
        When `cancel` returned True.

    Examples
    --------
    >>> import numpy as np
    >>> from napari_segtrain import predict
    >>> volume = np.random.default_rng(0).random((20, 40, 48), dtype=np.float32)
    >>> found = predict("project/runs/base", volume, spacing=(1.0, 0.5, 0.5), overlap=0.25)
    >>> {name: (array.shape, str(array.dtype)) for name, array in found.items()}
    {'cells': ((20, 40, 48), 'uint8')}
    >>> predict("project/runs/base", volume, output="probabilities")["cells"].dtype
    dtype('float32')
    """
    predictor = load_predictor(run, settings, device)
    if isinstance(image, str | Path):
        reader = ImageReader(predictor, None if spacing is None else {"spacing": tuple(spacing)})
        source, messages = reader.open(image), reader.messages
    else:
        source, messages = as_source(image, predictor.plan, spacing, predictor.unit), []
    sink = MemorySink()
    result = predictor.predict_source(source, sink, progress=progress, cancel=cancel)
    if result.outcome is Outcome.CANCELLED:
        raise PredictionCancelledError("the prediction was cancelled; there is no result")
    for message in (*messages, *predictor.messages):
        warnings.warn(message, stacklevel=2)
    return {name: array[0] if len(array) == 1 else array for name, array in sink.arrays.items()}


def predict_files(
    run: str | Path,
    data: str | Path,
    output: str | Path,
    *,
    overrides: Mapping[str, Any] | None = None,
    reading: Mapping[str, Any] | None = None,
    device: str = "auto",
    overwrite: bool = False,
    workers: int | None = None,
    scheduler: str | None = None,
    emit: Emit = ignore,
    control: Control | None = None,
) -> Written:
    """Predict an image file, a folder of them, or a Zarr store of any size, in bounded memory.

    Parameters
    ----------
    run
        Run folder or checkpoint file.
    data
        An image; a folder of images, or a data folder, whose ``images/`` are taken (see `find_images`); a
        Zarr store.
    output
        A folder, in which ``<image>_<target>.tif`` appears for each image and target. For a Zarr store, and
        for a single image where the name ends in .zarr, a Zarr store with an array a target, continued
        at the next block when it was interrupted, even killed. Outputs that are complete and were made with
        the same settings are left as they are; those made in another way are refused.
    overrides
        Keys of ``inference_config`` that differ from the run's own.
    reading
        Keys of ``dataset_config`` (``channel_axis``, ``level``, ``spacing``) where the images are stored in
        another way than those that the run was trained on.
    device
        Where to predict.
    overwrite
        Replace predictions that are there.
    workers, scheduler
        With ``inference_config.strategy`` distributed: how many processes to start on this machine, or the
        address of a dask scheduler whose workers see checkpoint, image and output under the same paths.
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
    if workers is not None or scheduler is not None:
        overrides = {**(overrides or {}), "strategy": "distributed"}
    predictor = load_predictor(run, overrides, device)
    reader = ImageReader(predictor, reading)
    images = reader.find(data)
    _check_all(images, reader, predictor)
    to_store = _to_store(Path(data), Path(output), len(images))
    if predictor.inference.strategy == "distributed":
        if not to_store:
            raise ConfigError(
                f"inference_config.strategy distributed writes the blocks of a Zarr store, but {output} is "
                "to be a folder of TIFF files; give an output that ends in .zarr, or another strategy"
            )
        [(name, file)] = images.items()
        store = ZarrSink(output, overwrite=overwrite)
        tell = _Messages(emit, predictor.messages, reader.messages)
        with cluster(workers, scheduler, device) as client:
            spread = spread_over(client, predictor, file, reading, device, store)
            done = _run(predictor, reader.open(file), store, None, emit, control, tell, name, spread=spread)
        tell()
        return _written(run, [store.path] if done else [], cancelled=not done)
    tell = _Messages(emit, predictor.messages, reader.messages)
    part = _Part(count=len(images))
    paths: list[Path] = []
    for name, file in images.items():
        tell()
        sink: TiffSink | ZarrSink
        sink = (
            ZarrSink(output, overwrite=overwrite) if to_store else TiffSink(output, name, overwrite=overwrite)
        )
        if not _run(predictor, reader.open(file), sink, None, emit, control, tell, name, part):
            return _written(run, paths, cancelled=True)
        paths += [sink.path] if isinstance(sink, ZarrSink) else sorted(sink.paths.values())
        part = part.next()
    tell()
    return _written(run, paths)


def _written(run: str | Path, paths: list[Path], *, cancelled: bool = False) -> Written:
    note_predictions(run, paths)
    return Written(tuple(paths), cancelled)


def _check_all(images: Mapping[str, Path], reader: ImageReader, predictor: Predictor) -> None:
    """Refuse images that cannot be opened or do not fit the network, before the first is predicted."""
    faults: list[str] = []
    for file in images.values():
        try:
            check_source(reader.open(file), predictor.plan, predictor.spacing, predictor.unit)
        except DataError as error:
            faults.extend(error.faults)
    if faults:
        raise DataError.listing(faults)


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
    overwrite: bool = False,
    keep_parts: bool = False,
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
    overwrite
        Replace a prediction that is there.
    keep_parts
        Keep what instances are made of in the store, so that they can be separated again.
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
    if predictor.inference.strategy == "distributed":
        raise ConfigError(
            "inference_config.strategy distributed predicts from the command line (segtrain predict … "
            "--workers 4); for a layer, choose another strategy"
        )
    path = Path(output)
    path = path if path.suffix == ".zarr" else path / "prediction.zarr"
    source = as_source(data, predictor.plan, spacing) if not isinstance(data, Mapping) else None
    if source is None:
        source = open_source(data, ndim=_spec_dimension(predictor, data), spacing=spacing)
    region = None
    if start is not None and stop is not None:
        region = tuple(slice(a, b) for a, b in zip(start, stop, strict=True))
    plan = plan_outputs(predictor.heads, predictor.inference, predictor.values)
    kept = plan.instances if keep_parts else {}
    sink = ZarrSink(path, overwrite=overwrite, keep_parts=bool(kept))
    tell = _Messages(emit, predictor.messages)
    done = _run(predictor, source, sink, region, emit, control, tell)
    tell()
    if not done:
        emit(Finished(status=RunState.INTERRUPTED, reason=FinishReason.STOPPED, path=str(path)))
        return
    note_predictions(run, [path])
    import zarr

    note_parts(path, kept, predictor.plan.ndim, source.spacing)
    group = zarr.open_group(str(path), mode="r")
    attributes = {name: dict(array.attrs) for name, array in group.arrays()}
    outputs = {
        name: {
            "kind": "zarr",
            "path": str(path / name),
            "level": 0,
            "channel_axis": 0 if said["axes"][0] == "c" else None,
        }
        for name, said in attributes.items()
    }
    emit(
        PredictDone(
            outputs=outputs,
            start=None if start is None else tuple(start),
            seconds=time.monotonic() - began,
            settings=dict(group.attrs["segtrain"])["settings"],
            limits={name: tuple(said["limits"]) for name, said in attributes.items() if "limits" in said},
        )
    )
    emit(Finished(status=RunState.COMPLETED, reason=FinishReason.ALL_EPOCHS, path=str(path)))


@dataclass(frozen=True)
class _Part:
    """Which of several images is predicted, and since when."""

    count: int = 1
    number: int = 0
    began: float = field(default_factory=time.monotonic)

    def next(self) -> _Part:
        """Return the part after this one."""
        return replace(self, number=self.number + 1)

    def progress(self, fraction: float, seconds: float | None) -> tuple[float, float | None]:
        """Return share and seconds left of the whole, from those of this image."""
        share = min(1.0, (self.number + fraction) / self.count)
        if self.count == 1 or share == 0.0:
            return share, seconds if self.count == 1 else None
        return share, (time.monotonic() - self.began) * (1.0 - share) / share


class _Messages:
    """Emits what is new in lists of messages, each once."""

    def __init__(self, emit: Emit, *lists: list[str]) -> None:
        self._emit, self._lists = emit, lists
        self._said: set[str] = set()

    def __call__(self) -> None:
        for message in (message for found in self._lists for message in found):
            if message not in self._said:
                self._said.add(message)
                self._emit(Warned(message=message))


def _run(
    predictor: Predictor,
    source: Source,
    sink: Sink,
    region: tuple[slice, ...] | None,
    emit: Emit,
    control: Control,
    tell: Callable[[], None],
    record: str | None = None,
    part: _Part | None = None,
    spread: Spread | None = None,
) -> bool:
    """Predict one of several images; False when the user ended it."""
    place = part if part is not None else _Part()

    def progress(fraction: float, seconds: float | None) -> None:
        tell()
        share, left = place.progress(fraction, seconds)
        emit(PredictProgress(fraction=share, seconds_left=left, record=record))

    def cancelled() -> bool:
        return not control.wait_while_paused(emit)

    result = predictor.predict_source(source, sink, region, progress, cancelled, spread)
    return result.outcome is Outcome.COMPLETED


def _spec_dimension(predictor: Predictor, spec: Mapping[str, Any]) -> int:
    if predictor.plan.ndim == 3:
        return 3
    return len(open_source(spec).shape)


def _to_store(data: Path, output: Path, count: int) -> bool:
    """Return whether a prediction is written as a Zarr store: where it is read from one, or called so."""
    named = output.suffix.lower() == ".zarr"
    if named and count > 1:
        raise ConfigError(
            f"{output}: a Zarr store takes one image, and {data} holds {count}; give a folder for "
            "<image>_<target>.tif, or one image"
        )
    return named or is_store(data)
